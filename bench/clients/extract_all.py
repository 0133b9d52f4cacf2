"""Unpacks every package of a folder with rattler, in as many threads as there are processors: extract_all.py FOLDER INTO"""
import os, sys
from concurrent.futures import ThreadPoolExecutor
from rattler.package_streaming import extract

source, into = sys.argv[1:]
with ThreadPoolExecutor(os.cpu_count()) as threads:
    list(threads.map(lambda name: extract(os.path.join(source, name), os.path.join(into, name)), sorted(os.listdir(source))))
