"""What an API server says of a manifest: schemas by kind, and no field that they do not know."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

SCHEMAS = Path(__file__).parent / "schemas"
_KUBERNETES, _KUBERAY = "kubernetes-1.37.json", "kuberay-1.4.json"
_HOMES = {
    "Deployment": "io.k8s.api.apps.v1.",
    "Service": "io.k8s.api.core.v1.",
    "PersistentVolumeClaim": "io.k8s.api.core.v1.",
}
# A schema of JSON says of an amount that it is a string or a number; the server looks closer.
_QUANTITY = r"^(\+|-)?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$"


def complaints(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with a manifest, and where."""
    named = {**_read(_KUBERNETES), **_read(_KUBERAY)}
    amount = {"type": ["string", "number"], "pattern": _QUANTITY}
    named["io.k8s.apimachinery.pkg.api.resource.Quantity"] = amount
    kind = manifest["kind"]
    return against({"$ref": f"#/$defs/{_HOMES.get(kind, '')}{kind}", "$defs": named}, manifest)


def against(schema: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong by this schema."""
    found = jsonschema.Draft202012Validator(_closed(schema)).iter_errors(manifest)
    return sorted(f"{error.json_path}: {error.message}" for error in found)


def definitions(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The kinds of the CustomResourceDefinitions in a folder, and the schemas of their `v1`."""
    for file in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            for version in document["spec"]["versions"]:
                if version["name"] == "v1":
                    schema = version["schema"]["openAPIV3Schema"]
                    yield document["spec"]["names"]["kind"], schema


def _read(name: str) -> dict[str, Any]:
    schemas: dict[str, Any] = json.loads((SCHEMAS / name).read_text())
    return schemas


def _closed(schema: Any) -> Any:
    """With all fields that may be there: `kubectl apply --validate=strict` refuses others."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    open_ = closed.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(closed.get("properties"), dict) and not open_:
        closed.setdefault("additionalProperties", False)
    if closed.pop("x-kubernetes-int-or-string", False) is True:
        closed.setdefault("type", ["integer", "string"])
    return closed
