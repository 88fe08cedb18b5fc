"""PortOne's part in a buyer's browser: the V1 SDK, and the payment windows that it opens."""
