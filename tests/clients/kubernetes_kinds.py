"""Judges Kubernetes objects, one JSON object a line on standard input, and prints the kind of each, with what is wrong.

Kinds of Kubernetes are validated strictly against the schemas of the versions in the arguments. Kinds of the Prometheus
Operator are read into its types and written again: what does not come back is a key that the kind does not have.
"""

import json
import sys

import kubernetes_validate
from cloudcoil.models.prometheus_operator import v1 as operator


def lost(given, kept, path=""):
    """The first key or item of `given` that `kept` lacks or has otherwise."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                return f"{path}/{key}"
            if found := lost(value, kept[key], f"{path}/{key}"):
                return found
        return None
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, pair in enumerate(zip(given, kept)):
            if found := lost(*pair, f"{path}/{index}"):
                return found
        return None
    return None if given == kept else path


def judge(thing):
    """What is wrong with an object, or None."""
    if thing["apiVersion"] == "monitoring.coreos.com/v1":
        model = getattr(operator, thing["kind"]).model_validate(thing)
        return lost(thing, json.loads(model.model_dump_json(by_alias=True, exclude_unset=True)))
    for version in sys.argv[1:]:
        kubernetes_validate.validate(thing, version, strict=True)
    return None


for line in sys.stdin:
    thing = json.loads(line)
    try:
        wrong = judge(thing)
    except Exception as error:
        wrong = error
    print(thing["kind"], *([" ".join(str(wrong).split())] if wrong else []))
