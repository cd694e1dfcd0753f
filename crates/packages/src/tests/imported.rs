//! What programs import.

use crate::distributions::{self, rows};
use crate::python::{self, Unread};
use crate::requirement::Requirement;
use crate::{IMPORTS_MAX, javascript, stdlib};
use check::bound::Unchecked;

/// What a program needs, in one line: `module=distribution`, with `?` for what is optional and nothing for what is not known.
fn needs(source: &str, files: &[&str], minor: u8) -> String {
    let needs = python::needs(source, files, minor).expect("a program");
    let shown = needs.iter().map(|need| {
        let wanted = need.requirement.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{}={wanted}{}", need.module, if need.optional { "?" } else { "" })
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn on_3_13(source: &str) -> String {
    needs(source, &[], 13)
}

#[test]
fn modules_are_mapped_to_distributions() {
    for (import, distribution) in [
        ("cv2", "opencv-python"),
        ("yaml", "pyyaml"),
        ("sklearn.ensemble", "scikit-learn"),
        ("PIL.Image", "pillow"),
        ("dateutil.parser", "python-dateutil"),
        ("bs4", "beautifulsoup4"),
        ("google.cloud.storage.blob", "google-cloud-storage"),
        ("google.protobuf", "protobuf"),
        ("google.genai", "google-genai"),
        ("azure.storage.blob", "azure-storage-blob"),
        ("mpl_toolkits.mplot3d", "matplotlib"),
        ("fitz", "pymupdf"),
        ("jwt", "pyjwt"),
        ("docx", "python-docx"),
        ("pkg_resources", "setuptools<82"),
        ("ruamel.yaml", "ruamel-yaml"),
        ("numpy.linalg", "numpy"),
        ("typing_extensions", "typing-extensions"),
        ("Some_Thing", "some-thing"),
    ] {
        let found = distributions::find(import).requirement.expect(import);
        assert_eq!(found.to_string(), distribution, "{import}");
    }
    for unknown in ["google", "google.nothing", "azure.nothing.here", "tomllib", "lib2to3", "nämé", "_x"] {
        assert_eq!(distributions::find(unknown).requirement, None, "{unknown}");
    }
    assert_eq!(distributions::find("google.nothing.at").module, "google.nothing");
}

#[test]
fn the_table_is_in_form() {
    let mut known = 0;
    let text = include_str!("../../tables/distributions.toml");
    let lines = text.lines().filter(|line| line.contains(" = \"") && !line.starts_with('#')).count();
    for (module, wanted) in rows() {
        known += 1;
        assert!(
            module
                .split('.')
                .all(|part| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')),
            "{module}"
        );
        assert!(!stdlib::has(module, 14), "{module} is of the standard library");
        if wanted.is_empty() {
            continue;
        }
        let requirement: Requirement = wanted.parse().expect(wanted);
        assert_eq!(requirement.to_string(), wanted);
        // A row without dots is there because the name alone would say something else.
        let same = crate::name::normalize(module) == wanted && !module.contains('.');
        assert!(!same, "{module} needs no row");
    }
    assert_eq!(known, lines, "a module is there twice");
    assert!(known > 380, "{known} rows");
}

#[test]
fn the_standard_library_is_of_a_version() {
    for (module, from, to) in [
        ("os", 9, 14),
        ("tomllib", 11, 14),
        ("distutils", 9, 11),
        ("cgi", 9, 12),
        ("compression", 14, 14),
        ("zoneinfo", 9, 14),
        ("msvcrt", 9, 14),
        ("test", 9, 14),
        ("__main__", 9, 14),
        ("_thread", 9, 14),
    ] {
        for minor in 9..=14 {
            assert_eq!(stdlib::has(module, minor), (from..=to).contains(&minor), "{module} 3.{minor}");
        }
    }
    assert!(stdlib::has("os", 0) && stdlib::has("os", 255) && stdlib::had("cgi") && !stdlib::had("numpy"));
    assert_eq!(needs("import cgi, tomllib, os", &[], 9), "tomllib=");
    assert_eq!(needs("import cgi, tomllib, os", &[], 12), "");
    assert_eq!(needs("import cgi, tomllib, os", &[], 13), "cgi=legacy-cgi");
    assert_eq!(needs("import distutils.core", &[], 12), "distutils=setuptools");
}

#[test]
fn imports_are_found_wherever_they_stand() {
    for (source, found) in [
        ("import numpy as np, pandas", "numpy=numpy pandas=pandas"),
        ("import a.b.c", "a=a"),
        ("from a.b import c, d", "a=a"),
        ("from a import *", "a=a"),
        ("from google import genai", "google.genai=google-genai"),
        (
            "from google.cloud import storage, bigquery",
            "google.cloud.bigquery=google-cloud-bigquery google.cloud.storage=google-cloud-storage",
        ),
        ("from google.cloud import nothing", "google.cloud.nothing="),
        ("from . import x\nfrom .y import z\nfrom .. import w", ""),
        ("import os, sys, json\nfrom collections import abc\nfrom __future__ import annotations", ""),
        ("def f():\n  import numpy", "numpy=numpy"),
        (
            "class A:\n  def f(self):\n    if x:\n      for y in z:\n        with w:\n          import numpy",
            "numpy=numpy",
        ),
        ("match x:\n  case 1:\n    import numpy", "numpy=numpy"),
        ("async def f():\n  async with a:\n    import numpy", "numpy=numpy"),
        ("import importlib\nimportlib.import_module('yaml')", "yaml=pyyaml"),
        ("from importlib import import_module\nx = [import_module('yaml.nodes')]", "yaml=pyyaml"),
        ("__import__('yaml')", "yaml=pyyaml"),
        ("importlib.import_module('.x', 'y')", ""),
        ("importlib.import_module(name)", ""),
        ("f(lambda: __import__('yaml'))", "yaml=pyyaml"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n  import numpy\nelse:\n  import pandas",
            "pandas=pandas",
        ),
        ("import typing as t\nif t.TYPE_CHECKING:\n  import numpy", ""),
        ("if not TYPE_CHECKING:\n  import numpy\nelse:\n  import pandas", "numpy=numpy"),
        ("if x:\n  import a\nelif TYPE_CHECKING:\n  import b\nelse:\n  import c", "a=a c=c"),
        ("import numpy\nthis is not python\nimport pandas", "numpy=numpy pandas=pandas"),
        ("'import numpy'\n# import pandas", ""),
        ("import numpy\nimport numpy.linalg\nfrom numpy import array", "numpy=numpy"),
    ] {
        assert_eq!(on_3_13(source), found, "{source}");
    }
}

#[test]
fn what_is_tried_is_optional() {
    for (source, found) in [
        ("try:\n  import ujson as json\nexcept ImportError:\n  import json", "ujson=ujson?"),
        ("try:\n  import a\nexcept ModuleNotFoundError:\n  import b", "a=a? b=b?"),
        ("try:\n  import a\nexcept (ValueError, ImportError):\n  pass", "a=a?"),
        ("try:\n  import a\nexcept Exception:\n  pass", "a=a?"),
        ("try:\n  import a\nexcept:\n  pass", "a=a?"),
        ("try:\n  import a\nexcept ValueError:\n  pass", "a=a"),
        ("try:\n  import a\nfinally:\n  pass", "a=a"),
        (
            "try:\n  import a\nexcept ImportError:\n  pass\nelse:\n  import b\nfinally:\n  import c",
            "a=a? b=b c=c",
        ),
        ("try:\n  import a\nexcept ImportError:\n  a = None\nimport a", "a=a"),
        ("import a\ntry:\n  import a\nexcept ImportError:\n  pass", "a=a"),
        ("import contextlib\nwith contextlib.suppress(ImportError):\n  import a", "a=a?"),
        ("with suppress(KeyError):\n  import a", "a=a"),
        ("with open(x):\n  import a", "a=a"),
    ] {
        assert_eq!(on_3_13(source), found, "{source}");
    }
    let tomli = "try:\n  import tomllib\nexcept ImportError:\n  import tomli as tomllib";
    assert_eq!(needs(tomli, &[], 13), "");
    assert_eq!(needs(tomli, &[], 10), "tomli=tomli? tomllib=?");
}

#[test]
fn own_files_are_no_packages() {
    let source = "import helper, lib.x, data, numpy, requests";
    let files = ["helper.py", "./lib/x.py", "data/table.csv", "requests.py"];
    assert_eq!(needs(source, &files, 13), "data=data numpy=numpy");
    assert_eq!(needs(source, &[], 13), "data=data helper=helper lib=lib numpy=numpy requests=requests");
}

#[test]
fn hostile_programs_are_refused_or_read() {
    let many = |count: usize| (0..count).map(|at| format!("import m{at}\n")).collect::<String>();
    assert_eq!(python::needs(&many(IMPORTS_MAX), &[], 13).map(|needs| needs.len()), Ok(IMPORTS_MAX));
    assert_eq!(python::needs(&many(IMPORTS_MAX + 1), &[], 13), Err(Unread::TooMany));
    let long = "#".repeat(check::bound::SOURCE_BYTES_MAX);
    assert_eq!(python::needs(&long, &[], 13), Ok(Vec::new()));
    assert_eq!(python::needs(&format!("{long}#"), &[], 13), Err(Unread::Unchecked(Unchecked::TooLong)));
    assert_eq!(python::needs(&"(".repeat(1000), &[], 13), Err(Unread::Unchecked(Unchecked::TooDeep)));
    assert_eq!(javascript::needs(&"[".repeat(1000), false), Err(Unread::Unchecked(Unchecked::TooDeep)));
    assert_eq!(on_3_13(&format!("import {}", "a".repeat(300))), "");
    for piece in [
        "try:\n ",
        "if x: ",
        "not ",
        "lambda: ",
        "a if b else ",
        "import a.",
        "x=>",
        "import('",
        "try{",
        "a?",
    ] {
        let source = piece.repeat(50_000);
        for answer in [python::needs(&source, &[], 13).err(), javascript::needs(&source, true).err()] {
            assert!(answer.is_none_or(|unread| unread != Unread::Unchecked(Unchecked::GaveUp)), "{piece}");
        }
    }
}

fn packages(source: &str, types: bool) -> String {
    let needs = javascript::needs(source, types).expect("a program");
    needs
        .iter()
        .map(|need| format!("{}{}", need.package, if need.optional { "?" } else { "" }))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn packages_of_javascript_are_found() {
    for (source, found) in [
        ("import x from 'lodash'; import 'side-effect'", "lodash side-effect"),
        ("import x from '@scope/pkg/sub/deep.js'; import y from 'lodash/fp'", "@scope/pkg lodash"),
        (
            "import fs from 'fs'; import p from 'node:path'; import t from 'node:test'; import 'fs/promises'",
            "",
        ),
        (
            "import './x'; import '../y'; import '/z'; import '#internal'; import 'https://evil.test/x.js'; import 'data:text/javascript,1'",
            "",
        ),
        ("export * from 'a'; export { b } from 'b'; export { c }; const c = 1", "a b"),
        ("const x = await import('chalk'); import(name)", "chalk"),
        ("const x = require('express'), y = require(name)", "express"),
        ("function f() { if (a) { return require(`ws`) } }", "ws"),
        ("try { require('a') } catch { require('b') }", "a? b?"),
        ("try { require('a') } finally { require('b') }", "a b"),
        ("try { require('a') } catch {} require('a')", "a"),
        ("with (x) { require('a') }", "a"),
        ("import test from 'test'", "test"),
        ("import '@fs/x'; import 'process'; import 'process/browser'", "@fs/x process"),
    ] {
        assert_eq!(packages(source, false), found, "{source}");
    }
    for (source, found) in [
        ("import type { A } from 'a'; import { type B } from 'b'; import { type C, d } from 'c'", "c"),
        ("export type { A } from 'a'; export type * from 'b'", ""),
        ("import x = require('x'); let y: number = 1", "x"),
        ("import React from 'react'; const x = <div>{require('y')}</div>", "react y"),
    ] {
        assert_eq!(packages(source, true), found, "{source}");
    }
}
