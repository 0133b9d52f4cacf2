"""Solves and installs from a channel in a registry with rattler.

    rattler_oci.py CHANNEL json|zst PREFIX SPEC [SPEC…]

Prints the names of the packages' files as JSON.
"""
import asyncio, json, os, sys, tempfile
from rattler import Channel, Gateway, Platform, SourceConfig, install, solve
from rattler.networking import Client
from rattler.networking.middleware import OciMiddleware


async def main(channel, fmt, prefix, specs):
    client = Client([OciMiddleware()])
    with tempfile.TemporaryDirectory() as tmp:
        config = SourceConfig(zstd_enabled=fmt == "zst", bz2_enabled=False, sharded_enabled=False, cache_action="no-cache")
        gateway = Gateway(cache_dir=os.path.join(tmp, "index"), client=client, default_config=config)
        platforms = [Platform("linux-64"), Platform("noarch")]
        records = await solve([Channel(channel)], specs, gateway=gateway, platforms=platforms)
        await install(records, target_prefix=prefix, cache_dir=os.path.join(tmp, "pkgs"), client=client, platform=platforms[0], show_progress=False)
    print(json.dumps(sorted(r.file_name for r in records)))


asyncio.run(main(*sys.argv[1:4], sys.argv[4:]))
