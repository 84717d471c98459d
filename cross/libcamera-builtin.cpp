/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libcamera's IPA modules as a part of the program.
 *
 * What: the classes IPAModule and IPAManager and the two source paths, as libcamera's internal headers declare them, over a table of
 *   the modules that cross/libcamera folded in. Takes the place of ipa_manager.cpp, ipa_module.cpp and source_paths.cpp.
 * Why: those open directories, read a symbol out of a shared object, check a signature and call dlopen; in a static program
 *   there is no directory to open and nothing that dlopen could load. Only the table is new: everything that asks for a module gets
 *   the answers that it would get from disk, and runs it in a thread of this process.
 * What not: no isolated modules, no module from disk, no signatures. An internal header that changes with libcamera's version shows
 *   here as an error of the compiler or of the linker.
 *
 * Derived from libcamera's headers and from the files it replaces, Copyright (C) 2019-2021, Google Inc.
 */

#include <memory>
#include <string>
#include <string.h>

#include <libcamera/base/log.h>

#include "libcamera/internal/ipa_manager.h"
#include "libcamera/internal/ipa_module.h"
#include "libcamera/internal/pipeline_handler.h"
#include "libcamera/internal/source_paths.h"

/* modules.inc has a line MODULE(name) for each; cross/libcamera gave their two symbols the module's name. */
#define MODULE(name)                                               \
	extern "C" const libcamera::IPAModuleInfo ipaModuleInfo_##name; \
	extern "C" libcamera::IPAInterface *ipaCreate_##name();
#include "modules.inc"
#undef MODULE

/*
 * libstdc++ and libcamera's fatal messages would write out the names of C++ functions in the trace of an abort. The program has no symbols,
 * so there is never a name: without the reader of them the file is 39 KB smaller. -2 is "not a valid name" (Itanium C++ ABI, 3.4).
 */
extern "C" char *__cxa_demangle(const char *, char *, size_t *, int *status)
{
	if (status)
		*status = -2;
	return nullptr;
}

#ifdef WITH_LIBYUV_WITHOUT_JPEG
/* The virtual camera can show JPEG files, for which libyuv wants libjpeg. Its test patterns are enough: say that it is no JPEG. */
namespace libyuv {

extern "C" int MJPGSize(const uint8_t *, size_t, int *, int *)
{
	return -1;
}

extern "C" int MJPGToNV12(const uint8_t *, size_t, uint8_t *, int, uint8_t *, int, int, int, int, int)
{
	return -1;
}

} /* namespace libyuv */
#endif

namespace libcamera {

LOG_DEFINE_CATEGORY(IPAManager)
LOG_DEFINE_CATEGORY(IPAModule)

namespace {

struct Builtin {
	const char *path;
	const IPAModuleInfo &info;
	IPAInterface *(*create)();
};

const Builtin builtins[] = {
#define MODULE(name) { "builtin:" #name, ipaModuleInfo_##name, ipaCreate_##name },
#include "modules.inc"
#undef MODULE
};

} /* namespace */

IPAModule::IPAModule(const std::string &libPath)
	: info_{}, libPath_(libPath), valid_(false), loaded_(false),
	  dlHandle_(nullptr), ipaCreate_(nullptr)
{
	for (const Builtin &builtin : builtins) {
		if (libPath == builtin.path) {
			info_ = builtin.info;
			ipaCreate_ = builtin.create;
			loaded_ = true;
			valid_ = info_.moduleAPIVersion == IPA_MODULE_API_VERSION;
		}
	}
}

IPAModule::~IPAModule() = default;

bool IPAModule::isValid() const
{
	return valid_;
}

const struct IPAModuleInfo &IPAModule::info() const
{
	return info_;
}

const std::vector<uint8_t> &IPAModule::signature() const
{
	return signature_;
}

const std::string &IPAModule::path() const
{
	return libPath_;
}

bool IPAModule::load()
{
	return loaded_;
}

IPAInterface *IPAModule::createInterface()
{
	return ipaCreate_ ? ipaCreate_() : nullptr;
}

bool IPAModule::match(PipelineHandler *pipe, uint32_t minVersion, uint32_t maxVersion) const
{
	return minVersion <= info_.pipelineVersion && info_.pipelineVersion <= maxVersion &&
	       !strcmp(info_.pipelineName, pipe->name());
}

std::string IPAModule::logPrefix() const
{
	return libPath_;
}

IPAManager::IPAManager(const CameraManager &cm)
	: cm_(cm)
{
	for (const Builtin &builtin : builtins) {
		auto module = std::make_unique<IPAModule>(builtin.path);
		if (!module->isValid()) {
			LOG(IPAManager, Error) << builtin.path << " is of another version";
			continue;
		}

		LOG(IPAManager, Debug) << "built in: " << module->info().name
				       << " for " << module->info().pipelineName;
		modules_.push_back(std::move(module));
	}
}

IPAManager::~IPAManager() = default;

IPAModule *IPAManager::module(PipelineHandler *pipe, uint32_t minVersion, uint32_t maxVersion)
{
	for (const auto &module : modules_) {
		if (module->match(pipe, minVersion, maxVersion))
			return module.get();
	}

	return nullptr;
}

/* What is a part of the program is as much trusted as the program. */
bool IPAManager::isSignatureValid(IPAModule *) const
{
	return true;
}

namespace utils {

/* Nobody runs this out of libcamera's build directory. */
std::string libcameraBuildPath()
{
	return {};
}

std::string libcameraSourcePath()
{
	return {};
}

} /* namespace utils */

} /* namespace libcamera */
