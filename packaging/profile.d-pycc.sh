# /etc/profile.d/pycc.sh: compilers of this login's shells are pycc's.
case ":$PATH:" in
*:/usr/lib/pycc/bin:*) ;;
*) PATH=/usr/lib/pycc/bin:$PATH ;;
esac
