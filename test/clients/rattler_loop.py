"""Solves and installs from channels with rattler, the engine of pixi, as often as it is asked.

    rattler_loop.py     reads jobs, a line of JSON each: {"channel": …, "subdir": …, "format": json|zst|bz2|shards, "specs": […]}

Answers each with a line of JSON: the installed packages as [name, version], or {"error": rattler's words}. Every job has
caches of its own, so that index and packages are read from the channel.
"""
import asyncio, json, os, sys, tempfile
from rattler import Channel, Gateway, Platform, SourceConfig, install, solve


async def use(channel, subdir, format, specs):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp:
        config = SourceConfig(
            zstd_enabled=format == "zst", bz2_enabled=format == "bz2", sharded_enabled=format == "shards", cache_action="no-cache"
        )
        gateway = Gateway(cache_dir=os.path.join(tmp, "index"), default_config=config)
        platforms = [Platform(subdir), Platform("noarch")]
        records = await solve([Channel(channel)], specs, gateway=gateway, platforms=platforms)
        prefix, cache = os.path.join(tmp, "prefix"), os.path.join(tmp, "pkgs")
        await install(records, target_prefix=prefix, cache_dir=cache, platform=Platform(subdir), show_progress=False)
        return sorted([r.name.source, str(r.version)] for r in records)


async def main():
    for line in sys.stdin:
        try:
            answer = await use(**json.loads(line))
        except Exception as e:
            answer = {"error": str(e)}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
