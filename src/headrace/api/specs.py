"""Connection specs and flow specs: what can be connected."""

from __future__ import annotations

from typing import Final

from headrace.control import specs
from headrace.control.access import Permission

from .call import Answer, Call
from .flow_service import BASE, PROPERTY, TOKEN, listed, one
from .operation import Operations
from .schemas import FREE, items, page, ref

operations: Final = Operations(BASE, "Specs")
_VIEW: Final = (Permission.VIEW_DESTINATIONS,)


@operations("GET", "/connectionSpecs", parameters=(PROPERTY,), answer=page("ConnectionSpec"), needs=_VIEW)
def list_connection_specs(call: Call) -> Answer:
    """List what can be connected."""
    return listed("/connectionSpecs", specs.list_connection_specs(call.control, call.caller, call.all("property")))


@operations("GET", "/connectionSpecs/{id}", answer=items("ConnectionSpec"), needs=_VIEW)
def get_connection_spec(call: Call) -> Answer:
    """Look up a connection spec."""
    return one(specs.get_connection_spec(call.control, call.caller, call.path["id"]))


@operations("POST", "/connectionSpecs", body=FREE, answer=FREE, needs=_VIEW)
def create_connection_spec(call: Call) -> Answer:
    """Refused: connection specs are part of the product."""
    specs.change_specs(call.control, call.caller)
    return Answer()


@operations("PUT", "/connectionSpecs/{id}", body=FREE, answer=FREE, needs=_VIEW)
def replace_connection_spec(call: Call) -> Answer:
    """Refused: connection specs are part of the product."""
    specs.change_specs(call.control, call.caller)
    return Answer()


@operations("GET", "/flowSpecs", parameters=(PROPERTY,), answer=page("FlowSpec"), needs=_VIEW)
def list_flow_specs(call: Call) -> Answer:
    """List the kinds of flows."""
    return listed("/flowSpecs", specs.list_flow_specs(call.control, call.caller, call.all("property")))


@operations(
    "POST", "/flowSpecs/search", body=ref("Search"), parameters=(TOKEN,), answer=page("FlowSpec"), needs=_VIEW
)
def search_flow_specs(call: Call) -> Answer:
    """Search the kinds of flows."""
    return listed("/flowSpecs/search", specs.search_flow_specs(call.control, call.caller, call.body()))


@operations("GET", "/flowSpecs/{id}", answer=items("FlowSpec"), needs=_VIEW)
def get_flow_spec(call: Call) -> Answer:
    """Look up a flow spec."""
    return one(specs.get_flow_spec(call.control, call.caller, call.path["id"]))


@operations("POST", "/flowSpecs", body=FREE, answer=FREE, needs=_VIEW)
def create_flow_spec(call: Call) -> Answer:
    """Refused: flow specs are part of the product."""
    specs.change_specs(call.control, call.caller)
    return Answer()


@operations("PUT", "/flowSpecs/{id}", body=FREE, answer=FREE, needs=_VIEW)
def replace_flow_spec(call: Call) -> Answer:
    """Refused: flow specs are part of the product."""
    specs.change_specs(call.control, call.caller)
    return Answer()
