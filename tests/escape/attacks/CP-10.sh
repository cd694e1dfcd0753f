# id: CP-10
# title: leave files that interpreters read at their start
# control: naive passes-its-environment

echo 'print("BREACH sitecustomize")' > /workspace/sitecustomize.py
cp /workspace/sitecustomize.py /workspace/usercustomize.py
echo 'echo BREACH bashrc' | tee ~/.bashrc ~/.profile ~/.bash_profile > /dev/null
echo 'console.log("BREACH noderc")' > ~/.noderc
echo 'import os; print("BREACH pth")' > /workspace/x.pth
mkdir -p ~/.local/lib/python3.11/site-packages && cp /workspace/x.pth ~/.local/lib/python3.11/site-packages/
bash -c true
python3 -I -c 1
node -e 1
echo HELD
