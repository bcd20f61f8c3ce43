/* SPDX-License-Identifier: GPL-2.0-only */
/* Becoming the application. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"

int app_exec(struct app *app, char *const *argv)
{
	int error;

	execvp(argv[0], argv);
	error = -errno;
	if (error == -ENOENT)
		return app_fail(app, error, "`%s`: command not found", argv[0]);
	return app_fail(app, error, "`%s` cannot be executed: %s", argv[0], strerror(-error));
}
