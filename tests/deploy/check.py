"""Checks objects against the schemas of Kubernetes; prints what is wrong, a line each.

    check.py OBJECTS.json

Kubernetes' own kinds by its OpenAPI documents, strictly, of the oldest version that the chart takes and of the newest that is known here
(PyPI: kubernetes-validate). Of KEDA's and Prometheus' operators' kinds there is no schema in a package: custom.schema.json has what the chart
uses of them, from their documentation, and nothing else is let through.
"""

import json
import os
import sys

import jsonschema
import kubernetes_validate

VERSIONS = ["1.30", "1.37"]
CUSTOM = json.load(open(os.path.join(os.path.dirname(__file__), "custom.schema.json")))


def problems(one):
    kind = one.get("kind", "?")
    if kind in CUSTOM["definitions"]:
        schema = {"$ref": f"#/definitions/{kind}", "definitions": CUSTOM["definitions"]}
        return [f"{kind}: {wrong.json_path}: {wrong.message}" for wrong in jsonschema.Draft7Validator(schema).iter_errors(one)]
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as wrong:
            found.append(f"{kind} of {version}: {wrong}".replace("\n", " "))
    return found


for one in json.load(open(sys.argv[1])):
    for problem in problems(one):
        print(problem)
