"""The use cases: one module for each thing that the product does."""
