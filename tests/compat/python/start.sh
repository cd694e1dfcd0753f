#!/bin/bash
# Starts the suite: the same way inside the sandbox and outside of it, so that only the sandbox can make a difference.
#     start.sh ROOT ARCHIVE SUITE MODULE...
# Makes a prefix in ROOT: a copy of the interpreter, links to its standard library, and the tests, which an image does not have.
# (PYTHONPATH would not do: many tests start isolated interpreters, which ignore it.)
set -eu
umask 022
ulimit -S -c 0 -n 1024
root=$1 archive=$(realpath "$2") suite=$(realpath "$3")
shift 3
python=$(realpath /usr/bin/python3)
library=/usr/lib/${python##*/} own=$root/lib/${python##*/}
# Directories that tests are put into or that tests write to are made anew, all else is one link.
own_directories="ctypes unittest lib-dynload"
mkdir -p "$root/home" "$root/tmp" "$root/bin"
for directory in $own_directories; do
  mkdir -p "$own/$directory"
  ln -s "$library/$directory"/* "$own/$directory/"
done
rm -f "$own"/*/test "$own"/*/__pycache__
for entry in "$library"/*; do
  case " $own_directories test sitecustomize.py __pycache__ " in
    *" ${entry##*/} "*) ;;
    *) ln -s "$entry" "$own/" ;;
  esac
done
tar -xzf "$archive" -C "$own"
cp "$python" "$root/bin/python3"
cd "$root/home"
exec env -i HOME="$root/home" LANG=C.UTF-8 LOGNAME=nobody PATH=/usr/bin:/bin SHELL=/bin/bash TMPDIR="$root/tmp" USER=nobody \
  "$root/bin/python3" "$suite" "$@"
