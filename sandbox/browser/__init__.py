"""What a buyer's browser meets at PortOne: the V1 SDK, and the payment windows that it opens."""
