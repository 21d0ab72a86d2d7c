// Linux calls that Swift cannot express: futex, affinity, memory policy, pause.
#ifndef CKV_LINUX_H
#define CKV_LINUX_H
#endif
