# shellcheck shell=sh
# In /etc/profile.d: the compilers of a login's shells are pycc's.
case ":$PATH:" in
*:/usr/lib/pycc/bin:*) ;;
*) PATH=/usr/lib/pycc/bin:$PATH ;;
esac
