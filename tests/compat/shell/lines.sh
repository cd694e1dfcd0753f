#!/bin/bash
# Starts lines.py in the same way on both sides, beside which lies the file of commands.
#     lines.sh ROOT
umask 022
ulimit -S -c 0 -n 1024
exec /usr/bin/python3 lines.py "$1" commands
