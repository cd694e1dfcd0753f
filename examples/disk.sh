#!/usr/bin/env bash
# What a program sees of the machine.
id
hostname
ls /
