"""Installs every package of a channel twice with rattler: from the channel, and from a package cache with neither network nor files.

    rattler_cache.py CHANNEL CACHE [FILLED]

CHANNEL is a folder with index and packages; the installer that gets CACHE is told that they lie where nothing is. A package of
Python code is installed together with the channel's `python`. Prints as JSON, by file name: whether the channel's package could be installed, whether the cache's could, whether both made the same
prefix, and whether the cache's index has it. Each cached entry is validated with every hash of its paths.json. FILLED is the cache that installing from the channel fills.
"""
import asyncio, hashlib, json, os, shutil, sys, tempfile
from rattler import (
    Channel, Gateway, PackageCache, PackageCacheLayer, Platform, RepoDataRecord, SourceConfig, ValidationMode, install,
)

NOWHERE = "file:///nowhere/at/all"


def tree(root):
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root)
            if relative.startswith("conda-meta"):
                continue
            if os.path.islink(path):
                found[relative] = "link " + os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    found[relative] = f"{os.stat(path).st_mode:o} " + hashlib.sha256(f.read()).hexdigest()
    return found


def elsewhere(record):
    return RepoDataRecord(record, record.file_name, f"{NOWHERE}/{record.subdir}/{record.file_name}", NOWHERE)


async def installed(records, prefix, cache, tries=3):
    shutil.rmtree(prefix, ignore_errors=True)
    try:
        await install(records, target_prefix=prefix, package_cache=cache, platform=Platform(records[-1].subdir), show_progress=False, execute_link_scripts=False)
    except BaseException as e:
        # py-rattler 0.28 loses one task in a thousand to a panic of its own, on a busy machine.
        if "panicked" in str(e) and tries > 1:
            return await installed(records, prefix, cache, tries - 1)
        return str(e) or repr(e)
    return tree(prefix)


async def main(channel, cache, filled=None):
    results = {}
    with tempfile.TemporaryDirectory() as tmp:
        gateway = Gateway(cache_dir=os.path.join(tmp, "index"), default_config=SourceConfig(sharded_enabled=False, cache_action="no-cache"))
        subdirs = sorted(d for d in os.listdir(channel) if os.path.exists(os.path.join(channel, d, "repodata.json")))
        full = PackageCache.from_layers([PackageCacheLayer(cache).with_validation_mode(ValidationMode.full())])
        index = await PackageCache(cache).index()
        found = []
        for subdir in subdirs:
            with open(os.path.join(channel, subdir, "repodata.json")) as f:
                data = json.load(f)
            names = sorted({r["name"] for kind in ("packages", "packages.conda") for r in data[kind].values()})
            found += [r for rs in await gateway.query([Channel(channel)], [Platform(subdir)], names, recursive=False) for r in rs]
        python = [r for r in found if r.name.source == "python"]
        for record in found:
            needed = python if record.noarch.python else []
            prefix = os.path.join(tmp, "prefix")
            # A prefix that lacks a file is rattler's doing at times, on a busy machine; what our cache does wrong it does each time.
            for _ in range(3):
                a = await installed([record, *needed], prefix, PackageCache(filled or os.path.join(tmp, "pkgs")))
                b = await installed([elsewhere(r) for r in [record, *needed]], prefix, full)
                if a == b:
                    break
            results[record.file_name] = {
                "channel": "ok" if isinstance(a, dict) else a,
                "cache": "ok" if isinstance(b, dict) else b,
                "same": a == b,
                "listed": index.contains_record(elsewhere(record)),
            }
    print(json.dumps(results))


asyncio.run(main(*sys.argv[1:]))
