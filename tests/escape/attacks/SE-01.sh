# id: SE-01
# title: secrets in the environment
# control: naive passes-its-environment

{ env; tr '\0' '\n' < /proc/self/environ; tr '\0' '\n' < /proc/$$/environ; } | cut -d= -f1 | sort -u |
  grep -vxE 'HOME|LANG|LOGNAME|PATH|SHELL|TMPDIR|USER|PWD|OLDPWD|SHLVL|_' | sed 's/^/BREACH /'
env | grep -iE 'proxy|key|token|secret|canary' && echo "BREACH"
echo HELD
