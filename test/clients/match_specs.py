"""Answers which records match which specs, as rattler, the engine of pixi, answers.

stdin: {"specs": [text], "records": [{name, version, build, build_number, license}]}
stdout: for each spec the indexes of the records that match, or null where rattler can't read the spec.
"""
import json, sys
from rattler import BuildString, MatchSpec, PackageRecord


def record(r):
    return PackageRecord(
        name=r["name"],
        version=r["version"],
        build=BuildString(r["build"]),
        build_number=r["build_number"],
        subdir="linux-64",
        license=r.get("license"),
    )


def answer(spec, records):
    try:
        parsed = MatchSpec(spec, strict=False, exact_names_only=False)
    except Exception:
        return None
    return [i for i, r in enumerate(records) if parsed.matches(r)]


asked = json.load(sys.stdin)
records = [record(r) for r in asked["records"]]
json.dump([answer(spec, records) for spec in asked["specs"]], sys.stdout)
