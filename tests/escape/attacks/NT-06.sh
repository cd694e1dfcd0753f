# id: NT-06
# title: odd forms of addresses
# stopped-by: netns
# control: also loopback-up
# note: In the control a neighbour listens on port 48222.

for host in 2130706433 0x7f.1 0177.0.0.1 127.1 '[::ffff:127.0.0.1]' '[::]' 0 localhost. 127.255.255.254 localhost; do
  curl -sm1 "http://$host:48222/" > /dev/null
  code=$?
  # 7: could not connect; 6: no such name. Anything else had somebody at the other end.
  [ $code = 7 ] || [ $code = 6 ] || echo "BREACH $host $code"
done
echo HELD
