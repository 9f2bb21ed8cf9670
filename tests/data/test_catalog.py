"""The table of data sets: every entry is complete and opens, and what derives from the table names them all."""

from __future__ import annotations

import argparse
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from msa2net_lib.cli.doctor import dataset_findings
from msa2net_lib.cli.prepare import add_prepare
from msa2net_lib.data.catalog import DATASETS, TERMS, dataset_entry, list_datasets, open_dataset, show_terms
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.scans.own import prepare_pairs
from msa2net_lib.viz.plots import SOURCES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", DATASETS)
def test_every_list_derives_from_the_table(name, tmp_path, capsys):
    entry = DATASETS[name]
    for text in (entry.short, entry.description, entry.source, entry.remedy):
        assert text
        assert "\n" not in text
    module, _, function = entry.opener.partition(":")
    assert callable(getattr(import_module(f"msa2net_lib.data.{module}"), function))
    assert list_datasets()[name] == entry.description
    assert SOURCES[name] == entry.source
    missing = [str(found) for found in dataset_findings(tmp_path) if f"data set {name} in" in found.what]
    assert len(missing) == 1
    assert entry.remedy in missing[0]
    parser = argparse.ArgumentParser()
    add_prepare(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["prepare", "--help"])
    assert entry.description.split()[0] in capsys.readouterr().out
    assert parser.parse_args(["prepare", name]).name == name


@pytest.mark.parametrize("name", ["virtual", "patient2"])
def test_scans_that_are_made_here_have_the_classes_of_the_table(root, name):
    dataset = open_dataset(name, root / "data", progress=False)
    assert dataset.root == root / "data" / DATASETS[name].folder
    assert dataset.class_names == ORGANS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Drawn images, prepared on opening."""
    return open_dataset("skin", tmp_path_factory.mktemp("made"), count=3, size=64, progress=False)


def test_images_that_are_made_here_have_the_class_of_the_table(made):
    assert made.root.parts[-2:] == ("skin_3_64", "prepared")
    assert made.class_names == ("lesion",)


@pytest.mark.parametrize("name", ["synapse", "isic"])
def test_data_that_are_not_there(name, tmp_path, refused):
    refused([tmp_path / DATASETS[name].folder, "msa2net prepare"], open_dataset, name, tmp_path, progress=False)


@pytest.mark.parametrize("form", [str, Path, lambda folder: f"{folder}/"])
def test_data_of_your_own_open_by_their_folder(made, tmp_path, refused, form):
    name = form(made.root)
    assert open_dataset(name) == made
    entry = dataset_entry(name)
    assert (entry.kind, entry.terms) == ("images", ())
    assert SOURCES[name] == entry.source == "your own data (skin_3_64); not comparable with the paper"
    refused(["train", "prepared already"], open_dataset, name, train=3)
    refused(["is unknown", "'virtual'", "a folder that `msa2net prepare` wrote"], open_dataset, str(tmp_path))


def test_scans_of_your_own_open_by_their_folder(tmp_path, save_nifti, scan):
    image, label = scan(1)
    save_nifti(tmp_path / "images" / "anna.nii.gz", image)
    save_nifti(tmp_path / "labels" / "anna.nii.gz", label)
    folders = tmp_path / "images", tmp_path / "labels", tmp_path / "out"
    made = prepare_pairs(*folders, classes={"all": list(range(1, 14))}, test=["anna"], workers=1, progress=False)
    assert open_dataset(str(made.root)) == made
    assert dataset_entry(str(made.root)).kind == "scans"


def test_unknown_names(refused):
    refused(["'btcv'", "'synapse'", "'isic'"], open_dataset, "btcv")
    refused(["'btcv'", "synapse-prepared"], show_terms, "btcv")


def test_every_data_set_has_all_of_its_terms():
    assert all(entry.terms for entry in DATASETS.values())
    for name, terms in TERMS.items():
        assert terms.name == name
        for field in fields(terms):
            text = getattr(terms, field.name)
            assert text
            assert "\n" not in text


@pytest.mark.parametrize("name", TERMS)
def test_shown_terms_hold_every_fact(name):
    shown = show_terms(name)
    terms = TERMS[name]
    assert shown.startswith(f"{name}: {terms.title}\n")
    for text in (terms.license, terms.access, terms.forbidden, terms.citation, terms.page):
        assert text in shown
    _, license, *_, page = shown.splitlines()
    assert license.index(terms.license) == page.index(terms.page)  # in columns


def test_terms_of_the_shipped_scans_are_those_of_their_readme(root):
    readme = (root / TERMS["example_ct"].page).read_text(encoding="utf-8")
    assert TERMS["example_ct"].license in readme
    assert "Keep this notice with the files" in readme
    assert "Radiology: Artificial Intelligence 2023" in readme
    assert "Radiology: Artificial Intelligence 2023" in TERMS["example_ct"].citation


def test_prepared_data_bear_the_terms_of_their_source():
    assert TERMS["synapse-prepared"].page == TERMS["synapse"].page
    assert TERMS["synapse"].citation in TERMS["synapse-prepared"].citation
    assert "Apache-2.0" in TERMS["virtual"].license


@pytest.mark.parametrize(("name", "options"), [("virtual", {}), ("virtual", {"train": 1, "test": 1}), ("patient2", {})])
def test_without_the_scans_that_ship_it_says_where_they_come_from(refused, tmp_path, name, options):
    said = f"no such folder; run msa2net data example --data {tmp_path}"
    refused(said, open_dataset, name, tmp_path, progress=False, **options)
    assert not list(tmp_path.iterdir())
