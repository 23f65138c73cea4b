"""Every form of the console, filled in wrongly by somebody who reads Spanish: no answer has a sentence of English."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import httpx
import msgspec
import pytest

from headrace.control.reach import Reach
from tests.control.plane import KINESIS_ID, MEMORY_ID

from .sample import Sample
from .served import Visitor
from .spoken import check

Visit = Callable[..., Visitor]
KEYS: Final = "Aws Kinesis authentication credentials"
AMBIENT: Final = "Aws Kinesis ambient credentials"
ROLE: Final = "Aws Kinesis assumed role"
WEB: Final = "Aws Kinesis web identity"
GOOD: Final[dict[str, Any]] = {"p.accessKeyId": "AKIDEXAMPLE", "p.secretKey": "s" * 20, "p.region": "eu-west-1"}
ARN: Final = "arn:aws:iam::123456789012:role/writer"


def refused(answer: httpx.Response, about: object, *words: str) -> None:
    """It was refused, in Spanish alone, with these words."""
    assert answer.status_code >= 400, (about, answer.status_code)
    check(answer.text, about)
    for each in words:
        assert each in answer.text, (about, each)


def _etag(page: str) -> str:
    return str(re.findall(r'name="etag" value="([^"]+)"', page)[0]).replace("&#34;", '"')


ACCOUNTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (KEYS, {"name": ""}),
    (KEYS, {"name": "\x01"}),
    (KEYS, {"p.accessKeyId": ""}),
    (KEYS, {"p.accessKeyId": "con espacio"}),
    (KEYS, {"p.secretKey": ""}),
    (KEYS, {"p.secretKey": "con espacio"}),
    (KEYS, {"p.sessionToken": "con espacio"}),
    (KEYS, {"p.region": "Ireland"}),
    (KEYS, {"p.region": "xx-nowhere-7"}),
    (KEYS, {"p.region": "ei-west-1"}),
    (KEYS, {"p.endpointUrl": "localhost:4566"}),
    (KEYS, {"p.endpointUrl": "https://inside.example"}),
    (KEYS, {"p.endpointUrl": "http://inside.example"}),
    (KEYS, {"p.endpointUrl": "https://localhost:4566", "p.useFips": "true"}),
    (KEYS, {"p.proxyUrl": "ftp://proxy"}),
    (KEYS, {"p.proxyUrl": "http://proxy.example"}),
    (KEYS, {"p.proxyUser": "somebody"}),
    (KEYS, {"p.proxyUser": "some body"}),
    (KEYS, {"p.proxyPassword": "p"}),
    (KEYS, {"p.caFile": "/absent.pem"}),
    (AMBIENT, {"p.source": "otra"}),
    (AMBIENT, {"p.source": "profile"}),
    (AMBIENT, {"p.source": "environment", "p.profile": "one"}),
    (AMBIENT, {}),
    (ROLE, {}),
    (ROLE, {"p.roleArn": "writer"}),
    (ROLE, {"p.roleArn": ARN, "p.secretKey": ""}),
    (ROLE, {"p.roleArn": ARN, "p.sessionName": "a b"}),
    (ROLE, {"p.roleArn": ARN, "p.durationS": "long"}),
    (ROLE, {"p.roleArn": ARN, "p.durationS": "5"}),
    (ROLE, {"p.roleArn": ARN, "p.externalId": "?"}),
    (ROLE, {"p.roleArn": ARN, "p.stsEndpointUrl": "sts"}),
    (WEB, {"p.roleArn": ARN}),
    (WEB, {"p.roleArn": ARN, "p.tokenFile": "/token"}),
)


@pytest.mark.parametrize("machine", [False, True])
def test_an_account_is_refused_in_spanish(fresh: Sample, spanish: Visit, machine: bool) -> None:
    """Each field of each way to authenticate, where the settings allow everything and where they allow nothing."""
    reach = Reach(hosts=("*.example", "localhost"), machine=True) if machine else Reach()
    fresh.control = msgspec.structs.replace(fresh.control, reach=reach)
    visitor, count = spanish(fresh), 0
    for way, wrong in ACCOUNTS:
        fields = {"name": "Cuenta", **(GOOD if way in (KEYS, ROLE) else {"p.region": "eu-west-1"}), **wrong}
        answer = visitor.post(f"/ui/connect/{KINESIS_ID}", use="new", way=way, **fields)
        if answer.status_code != 303:
            refused(answer, (way, wrong))
            count += 1
    assert count > 20


def test_an_account_stays_as_it_is_in_spanish(installation: Sample, spanish: Visit) -> None:
    """Changing, switching, deleting and testing an account."""
    visitor, account = spanish(installation), installation.accounts[0]
    path = f"/ui/accounts/{account}"
    etag = _etag(visitor.get(path).text)
    kept = {**GOOD, "p.secretKey": ""}
    refused(visitor.post(path, etag=etag, name="", **kept), "name", "está sin rellenar")
    refused(visitor.post(path, etag=etag, name="A", **kept, **{"p.endpointUrl": "https://localhost:1"}), "moved",
            "URL del punto de conexión", "Clave de acceso secreta")  # fmt: skip
    refused(visitor.post(path, etag='"old"', name="A", **kept), "etag", "cambió")
    refused(visitor.post(path + "/state", action="otra"), "state")
    refused(visitor.post(path + "/delete", etag=""), "in use", "destinos")
    for missing in ("/ui/accounts/none", "/ui/connect/none", f"/ui/connect/{KINESIS_ID}/none"):
        refused(visitor.get(missing), missing, "no existe")


PLACES: Final[tuple[dict[str, str], ...]] = (
    {"p.stream": ""},
    {"p.stream": "a b!"},
    {"p.region": "Ireland"},
    {"p.region": "eu-west-2"},
    {"p.maxRequestRecords": "0"},
    {"p.maxRequestRecords": "muchos"},
    {"p.maxRequestBytes": "1"},
    {"p.maxRecordBytes": "10000000"},
    {"p.timeoutMs": "-1"},
    {"p.encoding": "xml"},
    {"p.compression": "rar"},
)


def test_a_place_is_refused_in_spanish(installation: Sample, spanish: Visit) -> None:
    """Each field of the step in which the stream is chosen."""
    visitor, step = spanish(installation), f"/ui/connect/{KINESIS_ID}/{installation.accounts[0]}"
    for wrong in PLACES:
        refused(visitor.post(step, **{"p.stream": "leads", **wrong}), wrong)


DETAILS: Final[tuple[dict[str, Any], ...]] = (
    {"name": ""},
    {"description": "\x01"},
    {"lagSeconds": "pronto"},
    {"lagSeconds": "0"},
    {"skipPercent": "101"},
    {"mailTo": "nadie"},
    {"mute": ["todo"]},
)


def test_details_are_refused_in_spanish(installation: Sample, spanish: Visit) -> None:
    """Each field of the wizard's last step, and of the same forms on the destination's page."""
    visitor, sample = spanish(installation), installation
    step = f"/ui/connect/{KINESIS_ID}/{sample.accounts[0]}/{sample.targets[0]}"
    page = f"/ui/destinations/{sample.flows[0]}"
    etag = _etag(visitor.get(page + "?tab=configuration").text)
    for wrong in DETAILS:
        fields = {"name": "Destino", **wrong}
        refused(visitor.post(step, **fields), wrong)
        form = "/edit" if {"name", "description"} & wrong.keys() else "/alerts"
        refused(visitor.post(page + form, etag=etag, **fields), (form, wrong))
        refused(visitor.post(page + form, etag='"old"', **fields), (form, "etag"), "cambió")
    refused(visitor.post(f"{step}x", name="Destino"), "target")


def test_switching_is_refused_in_spanish(installation: Sample, spanish: Visit) -> None:
    """Enabling, pausing, deleting, re-sending and testing a destination."""
    visitor, page = spanish(installation), f"/ui/destinations/{installation.flows[0]}"
    refused(visitor.post(page + "/state", action="otra"), "action")
    refused(visitor.post(page + "/state", action="disable", changes="perder"), "changes")
    refused(visitor.post(page + "/state", action="disable", catch_up="true"), "catch up")
    refused(visitor.post(page + "/state", action="enable", changes="keep"), "changes of enabling")
    refused(visitor.post(page + "/delete", etag='"old"'), "etag", "cambió")
    refused(visitor.post(page + "/backfill", audience=["none"]), "audience")
    refused(visitor.post(page + "/backfill", kind="otra"), "kind")
    refused(visitor.post(page + "/backfill/b-1", action="otra"), "steer")
    refused(visitor.get("/ui/destinations/none"), "none", "no existe")
    refused(visitor.get(page + "/runs/none"), "run", "no existe")
    installation.engine.down = True
    for form in ("/test", "/resume", "/catch-up", "/backfill"):
        refused(visitor.post(page + form), form, "el motor no responde")


PATHS: Final = (
    "a..b",
    "a b",
    "['a",
    "['a'",
    "['a']b",
    "['a\\b']",
    "[0]",
    "_headrace.x",
    ".".join("a" * 70),
    "a.\x01",
)


def test_an_activation_is_refused_in_spanish(installation: Sample, spanish: Visit) -> None:
    """Attributes that are no paths, dates that are none or in the wrong order, audiences unknown or named twice."""
    visitor, path = spanish(installation), f"/ui/activate/{installation.flows[0]}"
    etag = _etag(visitor.get(path).text)
    known: dict[str, Any] = {"audience": ["crm-loyal"], "etag": etag}
    for each in PATHS:
        _activated(visitor, path, known | {"path": [each]})
    for start, end in (("pronto", ""), ("2026-02-30", ""), ("2026-03-02", "2026-03-01")):
        _activated(visitor, path, known | {"start.crm-loyal": start, "end.crm-loyal": end})
    _activated(visitor, path, {"etag": etag, "audience": ["nadie sabe"]})
    _activated(visitor, path, {"etag": etag, "audience": ["crm-loyal"], "namespace.crm-loyal": "other"})
    _activated(visitor, path, known | {"external_id": "crm-loyal", "external_namespace": "crm"})
    refused(visitor.post(path, step="finish", **{**known, "etag": '"old"'}), "etag", "cambió")
    odd: tuple[dict[str, Any], ...] = ({"path": ["identityMap.email"]}, {"path": ["a", "a.b"]}, {"audience": []})
    for warned in odd:
        check(visitor.post(path, step="review", **{**known, **warned}).text, warned)
    real = {"sample_namespace": "email", "sample_id": "nobody@example.com"}
    check(visitor.post(f"{path}/preview", **known, **real).text, "nadie")
    check(visitor.post(f"{path}/preview", audience=["crm-lapsed"], sample_namespace="email",
                       sample_id="ada@example.com").text, "not a member")  # fmt: skip
    refused(visitor.get("/ui/activate/none"), "none", "no existe")


def _activated(visitor: Visitor, path: str, fields: dict[str, Any]) -> None:
    refused(visitor.post(path, step="finish", **fields), fields)
    for step, at in (("review", path), ("", f"{path}/preview")):
        page = visitor.post(at, step=step, **fields).text
        check(page if "<main" in page else f"<main>{page}</main>", (step, fields))


PEOPLE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("users", {"name": ""}),
    ("users", {"name": "viewer", "role": ["viewer"]}),
    ("users", {"name": "eva", "password": "short", "role": ["viewer"]}),
    ("users", {"name": "eva", "role": ["nada"]}),
    ("clients", {"name": ""}),
    ("clients", {"name": "job", "role": ["nada"]}),
    ("roles", {"name": ""}),
    ("roles", {"name": "con espacio", "permission": ["View Profiles"]}),
    ("roles", {"name": "viewer", "permission": ["View Profiles"]}),
    ("roles", {"name": "new", "permission": ["Volar"]}),
)


def test_people_are_refused_in_spanish(installation: Sample, spanish: Visit) -> None:
    """Making, changing and deleting users, clients and roles."""
    visitor = spanish(installation)
    for tab, fields in PEOPLE:
        refused(visitor.post(f"/ui/people/{tab}", **fields), (tab, fields))
    admin, page = installation.first.user.id, visitor.get("/ui/people?tab=roles").text
    role = re.findall(r"/ui/people/roles/([^/\"]+)/delete", page)[0]
    for client in re.findall(r"/ui/people/clients/([^/\"]+)/delete", visitor.get("/ui/people?tab=clients").text):
        visitor.post(f"/ui/people/clients/{client}", action="disable")
    refused(visitor.post(f"/ui/people/users/{admin}", action="disable"), "last one", "Gestionar accesos")
    refused(visitor.post(f"/ui/people/users/{admin}", action="roles", role=["nada"]), "role", "Roles")
    refused(visitor.post(f"/ui/people/users/{admin}", action="otra"), "action")
    refused(visitor.post(f"/ui/people/roles/{role}", action="permissions", permission=["Volar"]), "fly", "Permisos")
    refused(visitor.post(f"/ui/people/roles/{role}/delete"), "role in use")
    refused(visitor.post("/ui/people/users/none/delete"), "none", "no existe")


AUDIENCES: Final[tuple[dict[str, str], ...]] = (
    {"name": "", "namespace": "crm"},
    {"name": "Nueva", "namespace": ""},
    {"name": "Nueva", "namespace": "crm", "audienceId": "a b"},
    {"name": "Nueva", "namespace": "crm", "audienceId": "crm-loyal"},
    {"name": "Loyal customers", "namespace": "crm"},
    {"name": "Nueva", "namespace": "crm", "description": "\x01"},
)
SCHEMAS: Final = ("", "{", "[]", "7", "{}", '{"type": "array"}', '{"properties": 7}', '{"properties": {}}')


def test_audiences_and_schemas_are_refused_in_spanish(installation: Sample, spanish: Visit) -> None:
    """Making and deleting audiences, and uploading a schema of profiles."""
    visitor = spanish(installation)
    for fields in AUDIENCES:
        refused(visitor.post("/ui/audiences", **fields), fields)
    refused(visitor.post("/ui/audiences/crm-loyal/delete"), "mapped")
    refused(visitor.post("/ui/audiences/none/delete"), "none", "no existe")
    for document in SCHEMAS:
        refused(visitor.post("/ui/attributes", document=document), document)
    visitor.post("/ui/attributes/delete")
    refused(visitor.post("/ui/attributes/delete"), "no schema", "no existe")


def test_who_may_not_is_told_in_spanish(installation: Sample, spanish: Visit) -> None:
    """A viewer who forges requests learns which permission is missing, by its Spanish name."""
    visitor = spanish(installation, "viewer")
    flow, account = installation.flows[0], installation.accounts[0]
    forms = {
        f"/ui/connect/{MEMORY_ID}": "Gestionar destinos",
        f"/ui/accounts/{account}/delete": "Gestionar destinos",
        f"/ui/destinations/{flow}/delete": "Gestionar destinos",
        f"/ui/destinations/{flow}/edit": "Gestionar destinos",
        f"/ui/destinations/{flow}/alerts": "Activar destinos",
        f"/ui/activate/{flow}": "Activar destinos",
        "/ui/people/users": "Gestionar accesos",
        "/ui/audiences": "Gestionar audiencias",
        "/ui/attributes": "Gestionar perfiles",
    }
    for form, permission in forms.items():
        refused(visitor.post(form, name="x", document="{}"), form, permission, "no tiene permiso")
    for page in ("/ui/people", "/ui/audit", "/ui/profile", "/ui/attributes", "/ui/dead-letters"):
        refused(visitor.get(page), page)


def test_signing_in_is_refused_in_spanish(fresh: Sample, visit: Visit) -> None:
    """A wrong password, too many of them, and a link that was used."""
    visitor = visit(fresh, "")
    visitor.client.headers["accept-language"] = "es"
    assert "El nombre o" not in visitor.get("/ui/sign-in").text
    answers = [visitor.sign_in("admin", "wrong") for _ in range(12)]
    refused(answers[0], "password", "no son correctos")
    refused(answers[-1], "too many", "demasiados intentos")
    refused(visitor.get("/ui/sign-in/none"), "link")
