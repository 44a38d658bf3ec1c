"""The licence of one model, by what lies beside its weights."""

import numpy as np
import pytest

from merganser.merging.card import UNKNOWN, Licence, front_matter, languages_of, licence_named, licence_of
from merganser.weights import Checkpoint, open_checkpoint, save

APACHE = (
    "                                 Apache License\n                           Version 2.0, January 2004\n"
)
GPL = "GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007\n … the GNU Affero General Public License, version 3 …"
LGPL = "GNU LESSER GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007\n … the GNU General Public License version 3 …"
MIT = "Permission is hereby granted, free of charge, to any person\nobtaining a copy of this software"
BSD = "Redistribution and use in source and binary forms, with or without modification …"


@pytest.fixture
def model(tmp_path):
    """Open a folder with one small model and the files given."""

    def opened(**files):
        folder = tmp_path / "model"
        if not folder.exists():
            save(Checkpoint.from_tensors({"w": np.zeros(2, "float32")}), folder)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
        return open_checkpoint(folder)

    return opened


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: apache-2.0", Licence("apache-2.0")),
        ("license: Apache-2.0", Licence("apache-2.0")),
        ("license: [mit]", Licence("mit")),
        ("license: [mit, my-own]", Licence("other", "mit and my-own")),
        (
            "license: other\nlicense_name: qwen-research\nlicense_link: https://example.com/l",
            Licence("other", "qwen-research", "https://example.com/l"),
        ),
        ("license: other\nlicense_name: Llama3", Licence("llama3")),
        ("license: other\nlicense_name: 'House: \"rules\"'", Licence("other", 'House: "rules"')),
        ("license: other", Licence("other")),
        ("license: unknown", UNKNOWN),
        ("license: 3", Licence("other", "3")),
        ("license:", UNKNOWN),
        ("tags: [a]", UNKNOWN),
        ("license: mit\nbroken: [", UNKNOWN),
        ("license: mit\nday: 2024-02-31", UNKNOWN),
        ("- license", UNKNOWN),
    ],
)
def test_the_front_matter_says_it(model, front, expected):
    assert licence_of(model(README__md=f"---\n{front}\n---\n\n# A model\n")) == expected


def test_a_card_without_front_matter_says_nothing(model):
    opened = model(README__md="# A model\n\nlicense: mit\n\n---\nlicense: mit\n---\n")
    assert licence_of(opened) == UNKNOWN
    assert front_matter(opened) == {}


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (APACHE, "apache-2.0"),
        (GPL, "gpl-3.0"),
        (LGPL, "lgpl-3.0"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3, 19 November 2007", "agpl-3.0"),
        (
            "GNU LIBRARY GENERAL PUBLIC LICENSE\nVersion 2 … the GNU General Public License, version 2 …",
            "lgpl",
        ),
        ("Boost Software License - Version 1.0 - August 17th, 2003", "bsl-1.0"),
        (MIT, "mit"),
        (BSD, "bsd-2-clause"),
        (BSD + "\nNeither the name of the copyright holder …", "bsd-3-clause"),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International", "cc-by-nc-sa-4.0"),
        ("Creative Commons Attribution-NonCommercial-NoDerivs 3.0 Unported", "cc-by-nc-nd-3.0"),
        ("Attribution 4.0 International", "cc-by-4.0"),
        ("LLAMA 2 COMMUNITY LICENSE AGREEMENT", "llama2"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "llama3"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nLlama 3.1 Version Release Date: July 23, 2024", "llama3.1"),
        ("LLAMA 4 COMMUNITY LICENSE AGREEMENT", "llama4"),
        ("Gemma Terms of Use\n\nLast modified: March 24, 2025", "gemma"),
        ("CreativeML Open RAIL++-M License", "openrail++"),
        ("CreativeML Open RAIL-M\ndated August 22, 2022", "creativeml-openrail-m"),
    ],
)
@pytest.mark.parametrize("file", ["LICENSE", "LICENCE__txt", "COPYING"])
def test_a_licence_file_is_known_by_the_title_that_comes_first(model, file, text, identifier):
    assert licence_of(model(**{file: text})) == Licence(identifier)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Qwen RESEARCH LICENSE AGREEMENT", "qwen-research"),
        ("Qwen LICENSE AGREEMENT", "qwen"),
        ("Mistral AI Research License", "mrl"),
    ],
)
def test_a_licence_without_an_identifier_has_a_name(model, text, name):
    assert licence_of(model(LICENSE=text)) == Licence("other", name)


def test_the_card_counts_before_the_file_and_the_file_before_nothing(model):
    assert licence_of(model(LICENSE=MIT)).identifier == "mit"
    assert licence_of(model(README__md="---\nlicense: gemma\n---\n")).identifier == "gemma"


def test_what_is_not_known_is_not_guessed(model):
    assert (
        licence_of(model(LICENSE="All rights reserved, licensing upon request.", Licensee="MIT")) == UNKNOWN
    )
    assert licence_of(Checkpoint.from_tensors({"w": np.zeros(2)})) == UNKNOWN


def test_the_settings_of_a_gguf_file_are_asked_last(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_license("other")
    writer.add_license_name("gemma")
    writer.add_license_link("https://g.example")
    writer.add_tensor("token_embd.weight", np.zeros((4, 4), "float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert licence_of(open_checkpoint(tmp_path / "m.gguf")) == Licence("gemma", None, "https://g.example")


@pytest.mark.parametrize(
    ("front", "languages"),
    [
        ("language: en", ("en",)),
        ("language: [en, zh-Hant, 'no']", ("en", "zh-Hant", "no")),
        ("language: no", ()),
        ("language: [{a: b}, 'x y']", ()),
        ("tags: [en]", ()),
    ],
)
def test_languages_are_those_of_the_card(model, front, languages):
    assert languages_of(model(README__md=f"---\n{front}\n---\n")) == languages


def test_names_of_ones_own_keep_their_case():
    assert licence_named(" My Own ") == Licence("other", "My Own")
    assert licence_named("CC-BY-NC-4.0") == Licence("cc-by-nc-4.0")


def test_bytes_that_are_no_text_say_nothing_and_break_nothing(model):
    opened = model()
    (opened.home / "README.md").write_bytes(b"\xff\xfe---\nlicense: mit\n---\n")
    (opened.home / "LICENSE").mkdir()
    assert licence_of(opened) == UNKNOWN
