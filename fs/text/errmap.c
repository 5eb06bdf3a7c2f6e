/* SPDX-License-Identifier: BSD-3-Clause */
#include "fs/text/errmap.h"

#include <errno.h>

#include "engine/cairn.h"

int errmap_errno(int code)
{
	switch (code) {
	case CAIRN_OK:
		return 0;
	case CAIRN_NOT_FOUND:
	case CAIRN_ENOENT:
	case CAIRN_EFUTURE:
		return ENOENT;
	case CAIRN_ENOSPC:
		return ENOSPC;
	case CAIRN_EINVAL:
		return EINVAL;
	case CAIRN_ENOTSUP:
	case CAIRN_EKIND:
		return EOPNOTSUPP;
	case CAIRN_EROFS:
		return EROFS;
	case CAIRN_EBUSY:
		return EBUSY;
	case CAIRN_ETIMEDOUT:
		return ETIMEDOUT;
	case CAIRN_EABORTED:
		return EINTR;
	case CAIRN_ENOMEM:
		return ENOMEM;
	case CAIRN_EEXIST:
		return EEXIST;
	case CAIRN_EACCES:
		return EACCES;
	case CAIRN_EDQUOT:
		return EDQUOT;
	case CAIRN_EFORGOTTEN:
		return ESTALE;
	case CAIRN_ECORRUPT:
	case CAIRN_EIO:
	default:
		return EIO;
	}
}
