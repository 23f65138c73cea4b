"""Parts for tests, shipped: a scripted Kinesis, and what judges the records that it accepted.

See docs/testing.md.
"""

from headrace.testing.child import Certificate, Child, make_certificate
from headrace.testing.fold import FlowPlan, Folded, fold
from headrace.testing.judge import Join, Verdict, canonical, content, export_id, judge, whole
from headrace.testing.kinesis import Movable, ScriptedKinesis
from headrace.testing.puts import Counts
from headrace.testing.recording import Written, read_records
from headrace.testing.script import Change, Fault, Quota, Script, random_faults

__all__ = [
    "Certificate",
    "Change",
    "Child",
    "Counts",
    "Fault",
    "FlowPlan",
    "Folded",
    "Join",
    "Movable",
    "Quota",
    "Script",
    "ScriptedKinesis",
    "Verdict",
    "Written",
    "canonical",
    "content",
    "export_id",
    "fold",
    "judge",
    "make_certificate",
    "random_faults",
    "read_records",
    "whole",
]
