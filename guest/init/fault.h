/* fault: what went wrong, in the words that go to the host: an errno name and one line. */
#ifndef CTR_INIT_FAULT_H
#define CTR_INIT_FAULT_H

struct fault {
    char code[16];     /* "ENOENT", … */
    char message[496]; /* cut, never longer */
};

/* Records and returns -1. */
int fault_set(struct fault *fault, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with ": reason" of errno at the end. */
int fault_errno(struct fault *fault, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The text of an errno as Go words it, which is what docker shows: "no such file or directory". */
const char *fault_reason(int number);
/* One line to the console (or stderr). For the host's console ring, never for the container. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
