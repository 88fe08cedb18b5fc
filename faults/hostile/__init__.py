"""The load of strangers: each attack beside genuine orders, and what becomes of these meanwhile (docs/hostile.md)."""
