"""VOC's XML files as COCO json: devkits and exports of other tools, and what is refused of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from ikd.cli import commands
from ikd.data import check_dataset, import_voc, indexed, parse_parts
from ikd.data.reader.dataset import IndexedCocoDataset
from ikd.data.voc import VOC_CLASSES
from ikd.errors import BadInput
from tests.unit.data.voc_sets import HEIGHT, WIDTH, Object, as_devkit, write_flat, write_picture, write_year, xml_of

CAT: Object = ("cat", (1, 1, 10, 20), 0)
DOG: Object = ("dog", (33, 9, 64, 48), 1)


def content(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    folder = tmp_path / "VOCdevkit"
    years = {
        "VOC2007": {"trainval": {"000005": [CAT, DOG], "000007": []}, "test": {"000001": [CAT]}},
        "VOC2012": {"trainval": {"2008_000002": [DOG]}},
    }
    for year, lists in years.items():
        write_year(folder / year, lists)
    (folder / "VOC2007" / "ImageSets" / "Main" / "cat_trainval.txt").write_text("000005  1\n000007 -1\n")
    return folder


class TestDevkit:
    """What stands in a devkit as it is downloaded."""

    def test_2007_and_2012_are_for_training_and_test_of_2007_for_validation(self, devkit: Path) -> None:
        made = import_voc(devkit)
        train, val = content(devkit / "train.json"), content(devkit / "val.json")
        assert [one["file_name"] for one in train["images"]] == [
            "VOC2007/JPEGImages/000005.jpg",
            "VOC2007/JPEGImages/000007.jpg",
            "VOC2012/JPEGImages/2008_000002.jpg",
        ]
        assert [one["file_name"] for one in val["images"]] == ["VOC2007/JPEGImages/000001.jpg"]
        assert {name: (one.images, one.without, one.objects, one.difficult) for name, one in made.parts.items()} == {
            "train": (3, 1, 3, 2),
            "val": (1, 0, 1, 0),
        }

    def test_corners_are_pixels_from_1_on_and_the_last_is_inside(self, devkit: Path) -> None:
        """By hand: pixels 1 to 10 are ten pixels from edge 0 on; 33 to 64 are the right half of 64."""
        import_voc(devkit)
        cat, dog, _ = content(devkit / "train.json")["annotations"]
        assert cat["bbox"] == [0, 0, 10, 20]
        assert cat["area"] == 200
        assert dog["bbox"] == [32, 8, 32, 40]
        flags = [(one["iscrowd"], one["ignore"], one["difficult"], one["truncated"]) for one in (cat, dog)]
        assert flags == [(0, 0, 0, 1), (0, 1, 1, 1)]

    def test_classes_are_vocs_in_its_order_where_there_are_no_others(self, devkit: Path) -> None:
        assert import_voc(devkit).classes == VOC_CLASSES
        file = content(devkit / "train.json")
        assert [one["name"] for one in file["categories"]] == list(VOC_CLASSES)
        assert len(VOC_CLASSES) == 20
        names = {one["id"]: one["name"] for one in file["categories"]}
        assert [names[one["category_id"]] for one in file["annotations"]] == ["cat", "dog", "dog"]

    def test_its_check_finds_nothing_and_difficult_objects_are_set_aside(self, devkit: Path) -> None:
        import_voc(devkit)
        report = check_dataset(devkit, train="train.json", val="val.json", images=".")
        assert report.ok
        assert report.splits["train"].taught.ignored == 2
        index = indexed(devkit / "train.json")
        assert index.set_aside.tolist() == [False, True, True]
        given = {"metainfo": {"classes": VOC_CLASSES}, "data_prefix": {"img": str(devkit)}, "pipeline": []}
        dataset = IndexedCocoDataset(ann_file=str(devkit / "train.json"), **given)
        assert [one["ignore_flag"] for one in dataset.get_data_info(0)["instances"]] == [0, 1]

    def test_parts_are_what_is_asked_for(self, devkit: Path, tmp_path: Path) -> None:
        parts = parse_parts(["some=VOC2012/trainval+VOC2007/test", "all=VOC2007"])
        import_voc(devkit, tmp_path / "out", parts=parts)
        some = [one["file_name"] for one in content(tmp_path / "out" / "some.json")["images"]]
        assert some == ["VOC2012/JPEGImages/2008_000002.jpg", "VOC2007/JPEGImages/000001.jpg"]
        assert len(content(tmp_path / "out" / "all.json")["images"]) == 3, "of a year, all XML files"
        assert not (devkit / "train.json").exists()

    def test_a_year_alone_and_one_without_a_test_part(self, devkit: Path, tmp_path: Path) -> None:
        made = import_voc(devkit / "VOC2007", tmp_path / "a")
        assert {name: one.images for name, one in made.parts.items()} == {"train": 2, "val": 1}
        other = tmp_path / "other"
        write_year(
            other / "VOC2012", {"trainval": {"a": [CAT], "b": [DOG]}, "train": {"a": [CAT]}, "val": {"b": [CAT]}}
        )
        made = import_voc(other)
        assert {name: one.images for name, one in made.parts.items()} == {"train": 1, "val": 1}

    def test_lists_of_another_task(self, devkit: Path, tmp_path: Path) -> None:
        file = devkit / "VOC2007" / "ImageSets" / "Segmentation" / "train.txt"
        file.parent.mkdir()
        file.write_text("000007\n")
        import_voc(devkit, tmp_path / "out", parts={"train": ["VOC2007/Segmentation/train"]})
        names = [one["file_name"] for one in content(tmp_path / "out" / "train.json")["images"]]
        assert names == ["VOC2007/JPEGImages/000007.jpg"]


class TestOtherTools:
    """labelImg, Roboflow and the like: XML beside the pictures, or in a folder beside theirs."""

    def test_folders_train_and_valid(self, tmp_path: Path) -> None:
        for part in ("train", "valid", "test"):
            write_flat(tmp_path / part, {f"{part}-1": [("b", (1, 1, 5, 5), 0), ("a", (3, 3, 9, 9), 0)]}, ".png")
        made = import_voc(tmp_path)
        assert list(made.parts) == ["train", "val", "test"]
        assert made.classes == ("a", "b")
        assert content(tmp_path / "val.json")["images"][0]["file_name"] == "valid/valid-1.png"
        assert "  val: {annotations: val.json, images: .}" in str(made)

    def test_one_folder_is_to_be_divided(self, tmp_path: Path) -> None:
        write_flat(tmp_path, {"one": [CAT], "two": []})
        made = import_voc(tmp_path)
        assert [one["file_name"] for one in content(tmp_path / "all.json")["images"]] == ["one.jpg", "two.jpg"]
        assert f"ikd data split {tmp_path} --all {tmp_path / 'all.json'} --images ." in str(made)

    @pytest.mark.parametrize(("xml", "pictures"), [("annotations", "images"), ("Annotations", "JPEGImages")])
    def test_folders_beside_each_other_without_lists(self, tmp_path: Path, xml: str, pictures: str) -> None:
        (tmp_path / xml).mkdir()
        (tmp_path / xml / "one.xml").write_text(xml_of("one.png", [CAT]))
        write_picture(tmp_path / pictures / "one.png")
        import_voc(tmp_path)
        assert content(tmp_path / "all.json")["images"][0]["file_name"] == f"{pictures}/one.png"

    def test_a_picture_that_was_renamed_with_its_xml_is_found_and_told(self, tmp_path: Path) -> None:
        write_flat(tmp_path, {"new": [CAT]})
        (tmp_path / "new.xml").write_text(xml_of(r"C:\Users\me\old.jpg", [CAT]))
        made = import_voc(tmp_path)
        assert content(tmp_path / "all.json")["images"][0]["file_name"] == "new.jpg"
        assert "new.xml: filename: should be the name of the picture, new.jpg" in str(made)

    def test_an_xml_that_was_renamed_alone_has_the_picture_that_it_names(self, tmp_path: Path) -> None:
        write_flat(tmp_path, {"old": [CAT]})
        (tmp_path / "old.xml").rename(tmp_path / "new.xml")
        import_voc(tmp_path)
        assert content(tmp_path / "all.json")["images"][0]["file_name"] == "old.jpg"

    @pytest.mark.parametrize("size", [None, (0, 0)])
    def test_a_size_that_is_not_said_is_the_pictures(self, tmp_path: Path, size: tuple[int, int] | None) -> None:
        write_flat(tmp_path, {"one": [CAT]})
        (tmp_path / "one.xml").write_text(xml_of("one.jpg", [CAT], size))
        assert str(import_voc(tmp_path).warnings) == "()"
        image = content(tmp_path / "all.json")["images"][0]
        assert (image["width"], image["height"]) == (WIDTH, HEIGHT)

    def test_exchanged_sides_are_the_pictures_and_told(self, tmp_path: Path) -> None:
        write_flat(tmp_path, {"one": [CAT]})
        (tmp_path / "one.xml").write_text(xml_of("one.jpg", [CAT], (HEIGHT, WIDTH)))
        assert "one.xml: size: should be that of the picture, 64x48" in str(import_voc(tmp_path))
        assert content(tmp_path / "all.json")["images"][0]["width"] == WIDTH

    def test_zero_based_corners_are_edges(self, tmp_path: Path) -> None:
        write_flat(tmp_path, {"one": [("cat", (0, 0, 64, 24), 0)]})
        made = import_voc(tmp_path, tmp_path / "cut")
        assert "it is cut at its border; VOC counts pixels from 1, if this tool does not, give --zero-based" in str(
            made
        )
        import_voc(tmp_path, tmp_path / "edges", zero_based=True)
        boxes = [content(tmp_path / name / "all.json")["annotations"][0]["bbox"] for name in ("cut", "edges")]
        assert boxes == [[0, 0, 64, 24], [0, 0, 64, 24]]
        write_flat(tmp_path, {"one": [("cat", (8, 8, 16, 16), 0)]})
        import_voc(tmp_path, tmp_path / "inner", zero_based=True)
        assert content(tmp_path / "inner" / "all.json")["annotations"][0]["bbox"] == [8, 8, 8, 8]

    def test_fractions_and_flags_in_words(self, tmp_path: Path) -> None:
        """VOC2012 itself has corners with fractions."""
        write_flat(tmp_path, {"one": [("cat", (45.5, 1, 50.25, 2e1), 1)]})
        text = (tmp_path / "one.xml").read_text().replace("<difficult>1<", "<difficult> True <")
        (tmp_path / "one.xml").write_text(text.replace("<truncated>1</truncated>", ""))
        import_voc(tmp_path)
        one = content(tmp_path / "all.json")["annotations"][0]
        assert one["bbox"] == [44.5, 0, 5.75, 20]
        assert (one["difficult"], one["truncated"]) == (1, 0)

    def test_classes_in_an_order_of_ones_own(self, tmp_path: Path) -> None:
        write_flat(tmp_path, {"one": [CAT]})
        assert import_voc(tmp_path, tmp_path / "out", classes=["dog", "cat"]).classes == ("dog", "cat")
        assert content(tmp_path / "out" / "all.json")["annotations"][0]["category_id"] == 2
        with pytest.raises(
            BadInput, match=r"one\.xml: object\[0\]\.name: must be one of --classes, dog, but got 'cat'"
        ):
            import_voc(tmp_path, tmp_path / "other", classes=["dog"])


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
BROKEN: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "empty": (lambda _: "", r"one\.xml:1: column 1: must be whole XML \(it is empty\)"),
    "cut": (lambda text: text[: len(text) // 2], r"one\.xml:1: column \d+: must be whole XML"),
    "a web page": (lambda _: "<html><br></html>", r"must be whole XML \(mismatched tag\)"),
    "another root": (lambda _: "<annotations/>", "root: must be <annotation>, as VOC's, but got 'annotations'"),
    "other bytes": (lambda text: text.replace("cat", "k\xe4tze").encode("latin-1"), r"not well-formed"),
    "an encoding": (lambda text: f'<?xml version="1.0" encoding="x-odd"?>{text}', "encoding: must be one that expat"),
    "an external entity": (
        lambda text: f'<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/hostname">]>{text.replace("cat", "&x;")}',
        "DOCTYPE: must hold no document type",
    ),
    "a document type elsewhere": (
        lambda text: f'<!DOCTYPE annotation SYSTEM "http://localhost:1/voc.dtd">{text}',
        "DOCTYPE: must hold no document type",
    ),
    "a billion laughs": (
        lambda text: f'<!DOCTYPE annotation [<!ENTITY l0 "ha">{LAUGHS}]>{text.replace("cat", "&l9;")}',
        "DOCTYPE: must hold no document type",
    ),
    "an entity of nobody": (lambda text: text.replace("cat", "&cat;"), r"undefined entity"),
    "no class": (
        lambda text: text.replace("<name>cat</name>", "<name> </name>"),
        r"object\[0\]\.name: must be the name",
    ),
    "no box": (lambda text: text.replace("bndbox", "box"), r"object\[0\]\.bndbox: must be a box"),
    "a turned box": (
        lambda text: text.replace("bndbox", "robndbox"),
        r"object\[0\]\.bndbox: must be a box, not a turned one \(robndbox\)",
    ),
    "no corner": (lambda text: text.replace("ymax", "top"), r"bndbox\.ymax: must be a number of pixels, but got ''"),
    "a comma": (lambda text: text.replace(">20<", ">2,5<"), r"bndbox\.ymax: must be a number of pixels, but got '2,5'"),
    "no number": (
        lambda text: text.replace(">20<", ">nan<"),
        r"bndbox\.ymax: must be a number of pixels, but got 'nan'",
    ),
    "too large a number": (
        lambda text: text.replace(">20<", ">1e999<"),
        r"must be a number of pixels, but got '1e999'",
    ),
    "corners exchanged": (
        lambda text: text.replace(">20<", ">-3<"),
        r"object\[0\]\.bndbox: must have xmin below xmax and ymin below ymax",
    ),
    "a box elsewhere": (
        lambda text: text.replace(">1<", ">90<").replace(">10<", ">99<").replace(">20<", ">99<"),
        r"object\[0\]\.bndbox: must lie inside the picture \(64x48\)",
    ),
    "a flag": (lambda text: text.replace("<difficult>0", "<difficult>2"), r"difficult: must be 0 or 1, but got '2'"),
    "another size": (
        lambda text: text.replace(">64<", ">128<"),
        r"size: must be that of the picture, 64x48; was it made",
    ),
    "no size": (lambda text: text.replace("<width>64", "<width>-64"), r"size\.width: must be a whole number of pixels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    write_flat(tmp_path, {"one": [], "two": [CAT]})
    change, said = BROKEN[name]
    text = change(xml_of("one.jpg", [CAT]).replace("<truncated>1</truncated>", ""))
    (tmp_path / "one.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    began = time.monotonic()
    with pytest.raises(BadInput, match=said) as caught:
        import_voc(tmp_path)
    assert time.monotonic() - began < 5
    assert "one.xml" in str(caught.value)
    assert not (tmp_path / "all.json").exists()


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    write_flat(tmp_path, {f"{name}": [CAT] for name in "abc"})
    (tmp_path / "a.jpg").unlink()
    (tmp_path / "b.xml").write_text("<annotation>")
    with pytest.raises(BadInput) as caught:
        import_voc(tmp_path)
    assert "a.xml: filename: must be a picture that exists in" in str(caught.value)
    assert "b.xml:1: column 13: must be whole XML" in str(caught.value)


class TestPictures:
    """What a file may name."""

    def test_a_missing_one_in_a_devkit(self, devkit: Path) -> None:
        (devkit / "VOC2007" / "JPEGImages" / "000005.jpg").unlink()
        said = r"000005\.xml: filename: must be a picture that exists in .*JPEGImages, but got '000005\.jpg'"
        with pytest.raises(BadInput, match=said):
            import_voc(devkit)

    def test_none_outside_of_the_folder(self, tmp_path: Path) -> None:
        write_picture(tmp_path / "secret.jpg")
        write_flat(tmp_path / "set", {"one": [CAT]})
        (tmp_path / "set" / "one.jpg").unlink()
        (tmp_path / "set" / "one.xml").write_text(xml_of("../secret.jpg", [CAT]))
        with pytest.raises(BadInput, match=r"filename: must be a picture that exists in .*set, but got 'secret\.jpg'"):
            import_voc(tmp_path / "set")

    def test_one_that_is_none(self, tmp_path: Path) -> None:
        write_flat(tmp_path, {"one": [CAT]})
        (tmp_path / "one.jpg").write_text("<html>")
        with pytest.raises(BadInput, match=r"filename: must be a readable picture \(it is a web page"):
            import_voc(tmp_path)

    def test_two_of_one_name(self, tmp_path: Path) -> None:
        write_flat(tmp_path, {"one": [CAT]})
        write_picture(tmp_path / "one.png")
        import_voc(tmp_path, tmp_path / "named")
        assert content(tmp_path / "named" / "all.json")["images"][0]["file_name"] == "one.jpg", "as the file says"
        (tmp_path / "one.xml").write_text(xml_of("", [CAT]))
        with pytest.raises(BadInput, match=r"filename: must be one of one\.jpg, one\.png"):
            import_voc(tmp_path, tmp_path / "out")

    def test_one_of_two_files(self, tmp_path: Path) -> None:
        write_flat(tmp_path, {"one": [CAT]})
        (tmp_path / "two.xml").write_text(xml_of("one.jpg", [CAT]))
        with pytest.raises(
            BadInput, match=r"two\.xml: filename: must be the picture of one XML file, .*one\.xml has it"
        ):
            import_voc(tmp_path)

    def test_sides_by_the_orientation_tag(self, tmp_path: Path) -> None:
        from PIL import Image

        write_flat(tmp_path, {"one": [CAT]})
        exif = Image.Exif()
        exif[0x0112] = 6
        grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        Image.fromarray(grey).save(tmp_path / "one.jpg", exif=exif)
        seen = cv2.imread(str(tmp_path / "one.jpg"))
        assert seen is not None
        assert seen.shape[:2] == (WIDTH, HEIGHT)
        (tmp_path / "one.xml").write_text(xml_of("one.jpg", [CAT], None))
        import_voc(tmp_path)
        assert content(tmp_path / "all.json")["images"][0]["width"] == HEIGHT


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["train"], r"--part: must be NAME=PLACE, or NAME=PLACE\+PLACE, but got 'train'"),
        (["../x=VOC2007/test"], "--part: must be NAME=PLACE"),
        (["train=VOC2007/test+"], "--part: must be NAME=PLACE"),
        (["a=VOC2007/test", "a=VOC2007/trainval"], r"--part: must name a once.*join its places by \+"),
        (
            ["a=VOC2007/vall"],
            r"'VOC2007/vall' must be a folder with XML files, or the list .*; lists there: test, trainval",
        ),
        (["a=VOC2011/train"], r"'VOC2011/train' must be a folder with XML files"),
        (
            ["a=VOC2007/cat_trainval"],
            r"cat_trainval\.txt:1: must be the name of an image: this is the list of one class",
        ),
        (["a=VOC2007/test+VOC2007/test"], r"000001\.xml: must be in a once, but is there twice"),
        (["a=VOC2007/empty"], r"empty\.txt: must name images, one a line, but is empty"),
        (["a=VOC2007/lost"], r"000099\.xml: file: the annotation file must exist"),
        (["a=VOC2007/out"], r"out\.txt:1: must be the name of an image without a folder"),
    ],
)
def test_parts_that_are_none(devkit: Path, tmp_path: Path, parts: list[str], said: str) -> None:
    lists = devkit / "VOC2007" / "ImageSets" / "Main"
    for name, text in {"empty": "\n", "lost": "000099\n", "out": "../../x\n"}.items():
        (lists / f"{name}.txt").write_text(text)
    if "vall" in parts[0]:
        for name in ("empty", "lost", "out"):
            (lists / f"{name}.txt").unlink()
    with pytest.raises(BadInput, match=said):
        import_voc(devkit, tmp_path / "out", parts=parse_parts(parts))


def test_names_in_lists_may_have_an_ending(devkit: Path, tmp_path: Path) -> None:
    (devkit / "VOC2007" / "ImageSets" / "Main" / "odd.txt").write_text("000005.jpg\r\n\r\n 000007.xml \n")
    assert import_voc(devkit, tmp_path / "out", parts={"a": ["VOC2007/odd"]}).parts["a"].images == 2


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="must be given a folder"):
        import_voc(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="must hold VOC2007 or VOC2012"):
        import_voc(tmp_path)
    write_flat(tmp_path, {"one": [CAT]})
    import_voc(tmp_path)
    with pytest.raises(BadInput, match="--to: must be a folder without the files to be written"):
        import_voc(tmp_path)
    with pytest.raises(BadInput, match="--classes: must be names of classes, each once"):
        import_voc(tmp_path, tmp_path / "out", classes=["a", "a"])


def test_the_command_imports_and_says_how_to_go_on(drawn: Path, tmp_path: Path) -> None:
    folder = as_devkit(drawn, tmp_path / "VOCdevkit")
    run = CliRunner().invoke(commands.app, ["data", "from-voc", str(folder)])
    assert run.exit_code == 0, run.output
    assert "classes: disc, ring, square, triangle" in run.output
    assert f"  root: {folder}" in run.output
    assert "validate: [bbox, voc]" in run.output
    checked = CliRunner().invoke(commands.app, ["data", "check", str(folder), "--images", "."])
    assert checked.exit_code == 0, checked.output


def test_corners_come_back_as_they_were_drawn(drawn: Path, tmp_path: Path) -> None:
    import_voc(as_devkit(drawn, tmp_path / "VOCdevkit"))
    there, back = content(drawn / "val.json"), content(tmp_path / "VOCdevkit" / "val.json")
    assert [one["bbox"] for one in back["annotations"]] == [one["bbox"] for one in there["annotations"]]
