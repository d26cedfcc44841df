/* What a test's subject writes to standard output and standard error, for the tests of texts. */
#ifndef UDP_ENCAP_TUN_CAPTURE_H
#define UDP_ENCAP_TUN_CAPTURE_H

#include <stddef.h>

/** The texts of one capture; what is longer is cut off. */
struct capture {
	char output[16384];
	char errors[16384];
	int files[2]; /* what is written instead, standard output and standard error */
	int saved[2];
};

/** From now on nothing reaches the terminal. */
void capture_begin(struct capture *capture);

/** Fills `output` and `errors`. To be called before anything is asserted. */
void capture_end(struct capture *capture);

/** Lines of a text, or -1 when the last one does not end. */
int count_lines(const char *text);

#endif
