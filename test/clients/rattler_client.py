"""Solves and installs from a channel with rattler, the engine of pixi, in one index format at a time.

    rattler_client.py CHANNEL SUBDIR FORMAT PREFIX SPEC [SPEC…]     FORMAT: json, zst, bz2 or shards

Prints the installed packages as JSON: name, version, build, subdir.
"""
import asyncio, json, os, sys, tempfile
from rattler import Channel, Gateway, Platform, SourceConfig, VirtualPackage, install, solve


async def main(channel, subdir, fmt, prefix, specs):
    channel = Channel(os.path.abspath(channel) if os.path.exists(channel) else channel)
    with tempfile.TemporaryDirectory() as tmp:
        config = SourceConfig(
            zstd_enabled=fmt == "zst", bz2_enabled=fmt == "bz2", sharded_enabled=fmt == "shards", cache_action="no-cache"
        )
        gateway = Gateway(cache_dir=os.path.join(tmp, "index"), default_config=config)
        machine = [v.into_generic() for v in VirtualPackage.detect()]
        platforms = [Platform(subdir), Platform("noarch")]
        records = await solve([channel], specs, gateway=gateway, platforms=platforms, virtual_packages=machine)
        await install(records, target_prefix=prefix, cache_dir=os.path.join(tmp, "pkgs"), platform=Platform(subdir), show_progress=False)
    found = [f for f in os.listdir(os.path.join(prefix, "conda-meta")) if f.endswith(".json")]
    assert len(found) == len(records), f"{len(found)} of {len(records)} were linked"
    print(json.dumps(sorted([r.name.source, str(r.version), str(r.build), str(r.subdir)] for r in records)))


asyncio.run(main(*sys.argv[1:5], sys.argv[5:]))
