// Starts programs without a shell.
#ifndef URSA_BASE_SPAWN_H_
#define URSA_BASE_SPAWN_H_

#include <spawn.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ursa {

// What a child does with its files and its folder before it becomes the program: posix_spawn_file_actions_add...(get(),
// ...). Not thread-safe.
class SpawnActions {
 public:
  SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  posix_spawn_file_actions_t* get() { return &actions_; }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

// Of what the child becomes the leader. Either way a terminal's Ctrl-C is not for it.
enum class SpawnLeads { kProcessGroup, kSession };

// Starts words[0], which is looked for in PATH if there is no slash in it, with all words as its arguments and this
// process's environment. No signal is blocked or ignored in it, whatever this process does with its own. The caller
// waits for the child. Errors: the system's, of the program or of an action: its text names the program only.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& words, const SpawnActions& actions, SpawnLeads leads);

}  // namespace ursa

#endif  // URSA_BASE_SPAWN_H_
