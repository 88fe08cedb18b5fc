"""What the product does, one module for each thing."""
