"""The benchmark: this service beside its alternatives and its limits, in one run (`make bench`)."""
