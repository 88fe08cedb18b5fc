"""PortOne: parse a notice, read a payment (pure), and a client that only moves bytes."""
