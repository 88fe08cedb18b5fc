"""Checks of the API from outside, by tools that are not ours and know only the OpenAPI document.

`python -m contract.fuzz` has schemathesis call the running service; `python -m contract.generated` has two generators
make clients, and uses those. Both need `contract/.venv` and `contract/node_modules`, which the Makefile installs.
"""
