"""Validates manifests against the schemas of those who read them, and prints them as JSON.

    manifests.py [--unchecked] FILE...

Prints {"problems": ["FILE: …"], "documents": {"FILE": [...]}}; with --unchecked no problems, and at once. A file of Kubernetes' objects is
validated as the oldest and the newest release would that the page names and this machine has the schemas of; a compose file, which has
`services`, as Compose would. What the page has the reader create is no object of a file, which would replace it each time it is applied.
"""

import functools
import importlib.util
import json
import pathlib
import re
import sys

import jsonschema
from ruamel.yaml import YAML

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "deploy" / "kubernetes.md"
# The oldest that it names.
OLDEST = "1.30"
KINDS = {"configmap": "ConfigMap", "secret generic": "Secret"}


def installed(package):
    """The folder of a package, which is not run."""
    return pathlib.Path(importlib.util.find_spec(package).submodule_search_locations[0])


KUBERNETES = installed("kubernetes_validate") / "kubernetes-json-schema"
COMPOSE = installed("compose") / "config" / "compose_spec.json"


def releases():
    found = [re.fullmatch(r"v(\d+)\.(\d+)\.\d+-local-strict", path.name) for path in KUBERNETES.iterdir()]
    numbers = sorted((int(one[1]), int(one[2]), one[0]) for one in found if one)
    oldest = tuple(int(part) for part in OLDEST.split("."))
    return [next(name for *number, name in numbers if tuple(number) == oldest), numbers[-1][2]]


@functools.cache
def load(file):
    return json.loads(file.read_text())


def validator(schema, definitions=None):
    store = {definitions["$id"]: definitions} if definitions else {}
    resolver = jsonschema.RefResolver(schema.get("$id", ""), schema, store=store)
    return jsonschema.Draft202012Validator(schema, resolver=resolver)


def errors(checker, document):
    for error in checker.iter_errors(document):
        at = ".".join(str(step) for step in error.absolute_path)
        yield f"{at}: {error.message[:300]}"


@functools.cache
def made_by_hand():
    """What the page has the reader create, each by its kind and name."""
    found = re.findall(r"kubectl create (configmap|secret generic) (\S+)", PAGE.read_text())
    if {kind for kind, _name in found} != set(KINDS):
        raise SystemExit(f"{PAGE}: it creates {found}; are these all?")
    return {(KINDS[kind], name) for kind, name in found}


def kubernetes_problems(document):
    if (document["kind"], document["metadata"]["name"]) in made_by_hand():
        yield f"{document['kind']} {document['metadata']['name']} would replace what the reader made by {PAGE.name}"
    version = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", document["apiVersion"])
    for release in releases():
        file = KUBERNETES / release / f"{document['kind'].lower()}-{version}.json"
        if not file.exists():
            yield f"{release} has no {document['kind']} of {document['apiVersion']}"
            continue
        for error in errors(validator(load(file), load(KUBERNETES / release / "_definitions.json")), document):
            yield f"{release}: {document['kind']}: {error}"


def main():
    problems, documents = [], {}
    files = [argument for argument in sys.argv[1:] if argument != "--unchecked"]
    is_checked = len(files) == len(sys.argv) - 1
    for file in files:
        yaml = YAML(typ="safe", pure=True)
        # As both read it: 0440 is octal.
        yaml.version = (1, 1)
        text = pathlib.Path(file).read_text()
        found = [document for document in yaml.load_all(text) if document is not None]
        documents[file] = found
        for document in found if is_checked else []:
            if "services" in document:
                wrong = errors(validator(load(COMPOSE)), document)
            else:
                wrong = kubernetes_problems(document)
            problems += [f"{file}: {problem}" for problem in wrong]
    print(json.dumps({"problems": problems, "documents": documents}))


main()
