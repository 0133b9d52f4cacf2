"""Tells what rattler, the engine of pixi, finds in channels, in one index format at a time.

    rattler_records.py < JOBS      a JSON list; each job {"channel": URL, "subdir": …, "format": json|zst|bz2|shards},
                                   with "names" for some packages only,
                                   or {"path": a repodata.json, "subdir": …}, which is read alone

Prints a JSON list, an answer a job: {file name: record}, or {"error": rattler's words}. Where a build is there in both
archive formats, rattler shows the .conda.
"""
import asyncio, json, os, sys, tempfile
from rattler import Channel, Gateway, Platform, SourceConfig, SparseRepoData
from rattler.repo_data import PackageFormatSelection


def gateway(fmt, folder):
    config = SourceConfig(
        zstd_enabled=fmt == "zst", bz2_enabled=fmt == "bz2", sharded_enabled=fmt == "shards", cache_action="no-cache"
    )
    return Gateway(cache_dir=folder, default_config=config)


async def records(job):
    if "path" in job:
        with SparseRepoData(Channel("file:///nowhere"), job["subdir"], job["path"]) as index:
            return index.load_all_records(PackageFormatSelection.PREFER_CONDA)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        index = gateway(job["format"], folder)
        channel, platform = Channel(job["channel"]), Platform(job["subdir"])
        names = job.get("names") or [n.normalized for n in await index.names([channel], [platform])]
        # All are awaited, also when one fails: they write into the folder.
        queries = [index.query([channel], [platform], [n], recursive=False) for n in names]
        answers = await asyncio.gather(*queries, return_exceptions=True)
        for failed in answers:
            if isinstance(failed, BaseException):
                raise failed
        return [r for answer in answers for some in answer for r in some]


async def answer(job):
    try:
        found = {}
        for r in await records(job):
            found[r.file_name] = json.loads(r.to_json())
        return found
    except Exception as e:
        return {"error": str(e)}


async def main():
    print(json.dumps([await answer(job) for job in json.load(sys.stdin)]))


asyncio.run(main())
