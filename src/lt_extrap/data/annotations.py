"""Annotations in the form of COCO, as iNaturalist publishes its data sets: one category an image."""

import json
from pathlib import Path
from typing import Any

from lt_extrap.errors import DataError


def read_annotations(path: Path) -> tuple[list[str], list[int]]:
    """Read a JSON file with `images`, `annotations` and `categories`; what else is in it means nothing.

    Returns:
        Path and label of each image, in the order of `images`. A label is the id of a category, as it is.

    Raises:
        DataError: the file cannot be read or has another form; or an image, named by its path or id, has no
            annotation or several, or a category that is not there.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        images = {image["id"]: image["file_name"] for image in content["images"]}
        categories = dict.fromkeys(category["id"] for category in content["categories"])  # in the order of the file
        labels: dict[Any, Any] = {}
        for annotation in content["annotations"]:
            image, label = annotation["image_id"], annotation["category_id"]
            if image in labels:
                raise ValueError(f"two annotations of the image {images.get(image, image)!r}")
            if label not in categories:
                raise ValueError(f"no category {label!r}, which the image {images.get(image, image)!r} has")
            labels[image] = label
        if len(images) < len(content["images"]):
            raise ValueError("two images with one id")
        for image, file in images.items():
            if image not in labels:
                raise ValueError(f"no annotation of the image {file!r}")
            if not isinstance(file, str) or not file or "\\" in file or not file.isprintable():
                raise ValueError(f"{file!r} where the path of an image was wanted, with / between folders")
        for image in labels:
            if image not in images:
                raise ValueError(f"an annotation of the image {image!r}, which is not there")
        if not images:
            raise ValueError("no images")
        for category in categories:
            if type(category) is not int or not 0 <= category < 2**31:
                raise ValueError(f"the category {category!r} where an id in 0..{2**31 - 1} was wanted")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"annotations in {path}: images [id, file_name], annotations [image_id, category_id], categories [id]",
            f"{type(error).__name__}: {error}",
            "mend the file, or give a list, `path label` a line",
        ) from None
    return list(images.values()), [labels[image] for image in images]
