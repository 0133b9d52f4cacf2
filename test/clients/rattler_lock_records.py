"""Prints the records of all lock files below a folder as the indexes of one channel: {subdir: {"packages": …, "packages.conda": …}}.

    rattler_lock_records.py FOLDER

Of several records of a file the first is taken. The subdir is that of the URL: old lock files name the platform in its place.
"""
import json, os, sys
from rattler import LockFile

channel = {}
for folder, _, files in sorted(os.walk(sys.argv[1])):
    for file in sorted(files):
        try:
            lock = LockFile.from_path(os.path.join(folder, file))
        except Exception:
            continue
        for _, environment in lock.environments():
            for platform in environment.platforms():
                for record in environment.conda_repodata_records_for_platform(platform) or []:
                    subdir, name = record.url.split("/")[-2:]
                    fields = json.loads(record.to_json())
                    for key in ("fn", "url", "channel"):
                        fields.pop(key, None)
                    maps = channel.setdefault(subdir, {"packages": {}, "packages.conda": {}})
                    maps["packages.conda" if name.endswith(".conda") else "packages"].setdefault(name, {**fields, "subdir": subdir})
json.dump(channel, sys.stdout)
