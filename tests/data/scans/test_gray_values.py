"""Gray values that are no HU are not prepared without a word, and the line says how to go on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from dicom_files import write_series
from drawn_bodies import NOT_HU, ORGAN_HU, body, save, save_pair

from msa2net_lib.data.scans.nnunet import prepare_nnunet
from msa2net_lib.data.scans.own import prepare_pairs
from msa2net_lib.data.synapse import prepare_synapse

RUN = {"workers": 1, "progress": False}
WORDS = {
    "plus_1024": ["values of 24 to 1114", "no HU", "--values shifted"],
    "padded_plus_1024": ["no HU", "--values shifted"],
    "zero_to_one": ["values of 0 to 0.5375", "--values windowed"],
    "eight_bit": ["values of 0 to 137", "--values windowed"],
    "z_score": ["normalized", "--modality MR"],
    "mr": ["no HU", "--modality MR"],
    "mr_slightly_negative": ["-5 to 540", "most likely no CT", "--modality MR"],
    "label_map": ["label map", "give the image itself"],
}


def prepare(folder, kind, **options):
    """Prepare one body in HU, and another kept in another way."""
    hu = body()
    save_pair(folder, "right", hu, hu == ORGAN_HU)
    folders = save_pair(folder, "wrong", NOT_HU[kind](hu), hu == ORGAN_HU)
    options = {"classes": {"organ": 1}, "test": ["right"]} | RUN | options
    return prepare_pairs(*folders.values(), folder / "out", **options)


@pytest.mark.parametrize("kind", NOT_HU)
def test_what_is_no_hu_is_refused_by_its_file_and_can_be_insisted_on(tmp_path, refused, kind):
    refused(["wrong.nii.gz", *WORDS[kind], "--values hu"], prepare, tmp_path, kind)
    assert not list((tmp_path / "out").rglob("wrong*"))
    if kind in ("plus_1024", "z_score", "mr_slightly_negative"):
        stored = prepare(tmp_path, kind, values="hu").load_slice("wrong_slice002")[0]
        np.testing.assert_allclose(stored, np.clip((NOT_HU[kind](body())[2] + 125.0) / 400, 0, 1), atol=1e-6)


@pytest.mark.parametrize(("kind", "values"), [("plus_1024", "shifted"), ("zero_to_one", "windowed"),
                                              ("eight_bit", "windowed"), ("padded_plus_1024", "shifted")])  # fmt: skip
def test_what_is_named_is_converted_and_hu_stay_hu(tmp_path, kind, values):
    prepared = prepare(tmp_path, kind, values=values)
    expected = np.clip((body() + 125.0) / 400, 0, 1)
    np.testing.assert_allclose(prepared.load_case("right").image, expected, atol=1e-6)
    seen = prepared.load_slice("wrong_slice002")[0]
    inside = np.indices(seen.shape)[1] >= 3  # left of it there may be padding
    np.testing.assert_allclose(seen[inside], expected[2][inside], atol=1 / 255)
    assert prepared.manifest["window"] == {"low": -125, "high": 275, "unit": "HU"}


def test_one_option_does_not_let_everything_through(tmp_path, refused):
    refused(["wrong.nii.gz", "no HU"], prepare, tmp_path, "plus_1024", values="windowed")
    refused(["wrong.nii.gz", "no HU"], prepare, tmp_path, "zero_to_one", values="shifted")
    refused(["values='HU'", "shifted"], prepare, tmp_path, "mr", values="HU")


def test_a_window_alone_does_not_make_hu(tmp_path, refused):
    """It would be recorded as one of HU, and applied to real HU later."""
    hu = body()
    folders = save_pair(tmp_path, "wrong", NOT_HU["plus_1024"](hu), hu == ORGAN_HU)
    options = {"classes": {"organ": 1}, "window": (899, 1299)} | RUN
    refused(["wrong.nii.gz", "--values shifted"], prepare_pairs, *folders.values(), tmp_path / "out", **options)


@pytest.mark.parametrize(("stored", "chosen"), [("MR", "CT"), ("CT", "MR"), ("PT", "CT")])
def test_a_dicom_folders_own_modality_counts(tmp_path, refused, stored, chosen):
    hu = body()
    write_series(tmp_path / "images" / "a", hu, Modality=stored, PixelSpacing=[2, 2])
    save(
        tmp_path / "labels" / "a.nii.gz", (hu == ORGAN_HU).astype(np.uint8), (2.0, 2.0, 2.5), origin=(-20.0, 30.0, 40.0)
    )
    folders = tmp_path / "images", tmp_path / "labels", tmp_path / "out"
    options = {"classes": {"organ": 1}, "modality": chosen} | RUN
    refused([tmp_path / "images" / "a", f"is {stored} by its own header", "--"], prepare_pairs, *folders, **options)
    options["modality"] = "other" if stored == "PT" else stored
    assert prepare_pairs(*folders, **options).manifest["modality"] == options["modality"]


@pytest.mark.parametrize("kind", ["plus_1024", "z_score", "mr_slightly_negative"])
def test_nnunet_and_synapse_ask_too(tmp_path, refused, kind):
    hu, source = body(), tmp_path / "nnunet"
    organ = (hu == ORGAN_HU).astype(np.uint8)
    save(source / "imagesTr" / "a_0000.nii.gz", NOT_HU[kind](hu))
    save(source / "labelsTr" / "a.nii.gz", organ)
    description = {"labels": {"background": 0, "organ": 1}, "numTraining": 1, "file_ending": ".nii.gz"}
    (source / "dataset.json").write_text(json.dumps(description | {"channel_names": {"0": "CT"}}))
    refused(["a_0000.nii.gz", "--values hu", "dataset.json"], prepare_nnunet, source, tmp_path / "out", **RUN)
    (source / "dataset.json").write_text(json.dumps(description | {"channel_names": {"0": "T2"}}))
    assert prepare_nnunet(source, tmp_path / "out", **RUN).manifest["modality"] == "T2"
    save(tmp_path / "raw" / "img" / "img0005.nii.gz", NOT_HU[kind](hu))
    save(tmp_path / "raw" / "label" / "label0005.nii.gz", organ * 6)
    refused(["img0005.nii.gz", "--values hu"], prepare_synapse, tmp_path / "raw", tmp_path / "synapse", **RUN)
    assert prepare_synapse(tmp_path / "raw", tmp_path / "synapse", values="hu", **RUN).train_slices
