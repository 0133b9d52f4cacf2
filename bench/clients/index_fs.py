"""Indexes a channel's folder with rattler_index, and tells its peak memory as our own runs do: index_fs.py FOLDER"""
import asyncio, os, resource, sys
from rattler.index import index_fs

asyncio.run(index_fs(sys.argv[1], write_zst=True, write_shards=True))
print("peak-rss-kib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr, flush=True)
# py-rattler 0.28 now and then dies by a signal while Python takes itself apart.
os._exit(0)
