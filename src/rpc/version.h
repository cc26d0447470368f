#pragma once
// What this build is.

namespace markab::rpc {

inline constexpr const char* kVersion = "0.1.0";
#ifdef MARKAB_GIT_COMMIT
inline constexpr const char* kGitCommit = MARKAB_GIT_COMMIT;
#else
inline constexpr const char* kGitCommit = "unknown";
#endif
#ifdef NDEBUG
inline constexpr const char* kBuildType = "Release";
#else
inline constexpr const char* kBuildType = "Debug";
#endif

}  // namespace markab::rpc
