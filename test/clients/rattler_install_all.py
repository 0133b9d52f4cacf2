"""Installs every package of a channel with rattler, the engine of pixi, whatever they need: as many prefixes as a name has builds.

    rattler_install_all.py CHANNEL SUBDIR FORMAT     FORMAT: json, zst or shards

Prints the file names that were installed, as JSON, sorted.
"""
import asyncio, json, os, sys, tempfile
from rattler import Channel, Gateway, Platform, SourceConfig, install


async def main(channel, subdir, fmt):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp:
        config = SourceConfig(zstd_enabled=fmt == "zst", bz2_enabled=False, sharded_enabled=fmt == "shards", cache_action="no-cache")
        gateway = Gateway(cache_dir=os.path.join(tmp, "index"), default_config=config)
        channels, platforms = [Channel(channel)], [Platform(subdir), Platform("noarch")]
        names = [n.normalized for n in await gateway.names(channels, platforms)]
        answers = await asyncio.gather(*(gateway.query(channels, platforms, [n], recursive=False) for n in names))
        left = {n: [r for some in answer for r in some] for n, answer in zip(names, answers)}
        done = []
        while any(left.values()):
            batch = [records.pop() for records in left.values() if records]
            prefix = os.path.join(tmp, f"prefix{len(done)}")
            await install(batch, target_prefix=prefix, cache_dir=os.path.join(tmp, "pkgs"), platform=Platform(subdir), show_progress=False)
            linked = [f for f in os.listdir(os.path.join(prefix, "conda-meta")) if f.endswith(".json")]
            assert len(linked) == len(batch), f"{len(linked)} of {len(batch)} were linked"
            done += [r.file_name for r in batch]
        print(json.dumps(sorted(done)))


asyncio.run(main(*sys.argv[1:]))
