"""Make the data set of `target=tiny_imagenet_lt` from the public Tiny ImageNet archive.

    python lists/tiny_imagenet/prepare.py tiny-imagenet-200.zip $LT_EXTRAP_DATA/tiny_imagenet

Copies the lists beside this file and packs the images that they name into images.tar, under the paths of the
lists: train/<wnid>/<file> from the archive's training part, test/<wnid>/<file> from its validation part.
"""

import argparse
import io
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def member(path: str) -> str:
    """Where the public archive has the image of a path of the lists."""
    part, wnid, file = path.split("/")
    return f"tiny-imagenet-200/{'val' if part == 'test' else f'train/{wnid}'}/images/{file}"


def prepare(archive: Path, folder: Path) -> int:
    """Write lists, names, pairs and images.tar into the folder; the number of images."""
    (folder / "lists").mkdir(parents=True, exist_ok=True)
    for file in HERE.glob("*.json"):
        shutil.copyfile(file, folder / file.name)
    paths = set()
    for file in sorted((HERE / "lists").glob("*.txt")):
        shutil.copyfile(file, folder / "lists" / file.name)
        paths |= {line.rsplit(" ", 1)[0] for line in file.read_text().splitlines()}
    unfinished = folder / "images.tar.part"
    with zipfile.ZipFile(archive) as source, tarfile.open(unfinished, "w") as tar:
        for path in sorted(paths):
            content = source.read(member(path))
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    unfinished.replace(folder / "images.tar")
    return len(paths)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="the public tiny-imagenet-200.zip")
    parser.add_argument("folder", type=Path, help="the folder to make")
    options = parser.parse_args()
    if not options.archive.is_file():
        sys.exit(f"no archive at {options.archive}; download tiny-imagenet-200.zip first")
    try:
        print(f"{prepare(options.archive, options.folder)} images in {options.folder / 'images.tar'}")
    except (KeyError, zipfile.BadZipFile) as error:
        sys.exit(f"{options.archive} is not the public Tiny ImageNet archive: {error}")
