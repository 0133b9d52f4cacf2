"""Says which packages of a channel rattler, the engine of pixi, can solve: from the whole index, and from some of it alone.

    rattler_solvable.py     reads jobs, a line of JSON each: {"index": {subdir: repodata}, "virtual": [[name, version, build]],
                            "roots": [{"spec": …, "whole": bool, "only": ["subdir/file", …] or null}]}
                            "index" may be left out: then that of the job before is meant.

Answers each job with a line: for each root {"whole": …, "only": …}, the files that are chosen from the whole index and from
those alone as "subdir/file", or {"error": rattler's words}, or null where that was not asked.
"""
import asyncio, json, os, sys, tempfile
from rattler import BuildString, Channel, GenericVirtualPackage, MatchSpec, PackageName, SparseRepoData, Version, solve_with_sparse_repodata


def load(folder, index):
    loaded = []
    for subdir, repodata in index.items():
        path = os.path.join(folder, f"{subdir}.json")
        # What was loaded before may be mapped into memory still.
        if os.path.exists(path):
            os.unlink(path)
        with open(path, "w") as f:
            json.dump({"info": {"subdir": subdir}, **repodata}, f)
        loaded.append(SparseRepoData(Channel("https://example.com/channel"), subdir, path))
    return loaded


def part(index, only):
    some = {}
    for subdir, repodata in index.items():
        for key in ("packages", "packages.conda"):
            records = repodata.get(key, {})
            some.setdefault(subdir, {})[key] = {f: r for f, r in records.items() if f"{subdir}/{f}" in only}
    return some


async def solved(loaded, spec, virtual):
    try:
        records = await solve_with_sparse_repodata([spec], loaded, virtual_packages=virtual)
    except Exception as e:
        return {"error": str(e)}
    return sorted(r.url.removeprefix("https://example.com/channel/") for r in records)


async def main():
    index, whole = {}, []
    with tempfile.TemporaryDirectory() as whole_in, tempfile.TemporaryDirectory() as part_in:
        for line in sys.stdin:
            job = json.loads(line)
            if "index" in job:
                index = job["index"]
                whole = load(whole_in, index)
            virtual = [GenericVirtualPackage(PackageName(n), Version(v), BuildString(b)) for n, v, b in job["virtual"]]
            answers, held, some = [], None, []
            for root in job["roots"]:
                spec = MatchSpec(root["spec"])
                answer = {"whole": await solved(whole, spec, virtual) if root["whole"] else None, "only": None}
                if root["only"] is not None:
                    if root["only"] != held:
                        held, some = root["only"], load(part_in, part(index, set(root["only"])))
                    answer["only"] = await solved(some, spec, virtual)
                answers.append(answer)
            print(json.dumps(answers), flush=True)


asyncio.run(main())
