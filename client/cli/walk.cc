#include "client/cli/walk.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "client/cli/text.h"
#include "experiments/splitters.h"

namespace ursa::cli {
namespace {

constexpr char kRegexPrefix[] = "regex:";

// A name that can be shown and sent: if it has control characters or is no UTF-8, every odd byte and every '%' is
// written as %XX.
std::string ShownName(const std::string& name) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (IsValidUtf8(name) && std::none_of(name.begin(), name.end(), is_control)) return name;
  std::string shown;
  for (const unsigned char c : name) {
    if (is_control(c) || c >= 0x80 || c == '%') {
      shown += absl::StrFormat("%%%02X", c);
    } else {
      shown.push_back(static_cast<char>(c));
    }
  }
  return shown;
}

class Walker {
 public:
  explicit Walker(bool ignore_root_files) : ignore_root_files_(ignore_root_files) {}

  // `path` is a folder; `source` its shown name, with a slash at the end unless it is the root.
  absl::Status Enter(const std::string& path, const std::string& source) {
    DIR* folder = ::opendir(path.c_str());
    if (folder == nullptr) return ErrnoStatus(errno, absl::StrCat("folder \"", path, "\": cannot open"));
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(folder)) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    ::closedir(folder);
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) Visit(path + "/" + name, source + ShownName(name), source.empty());
    return absl::OkStatus();
  }

  WalkResult Finish() {
    std::sort(result_.files.begin(), result_.files.end(),
              [](const FoundFile& a, const FoundFile& b) { return a.source < b.source; });
    return std::move(result_);
  }

  void EnterRoot(const struct stat& info) { ancestors_.insert({info.st_dev, info.st_ino}); }

 private:
  void Visit(const std::string& path, const std::string& source, bool in_root) {
    struct stat info;
    const bool exists = ::stat(path.c_str(), &info) == 0;
    const int error = errno;
    if (exists && S_ISDIR(info.st_mode)) {
      const auto [at, is_new] = ancestors_.insert({info.st_dev, info.st_ino});
      if (!is_new) return;  // a link to a folder that it lies in
      const absl::Status entered = Enter(path, source + "/");
      if (!entered.ok()) Add({source + "/", path, 0, std::string(entered.message())});
      ancestors_.erase({info.st_dev, info.st_ino});
      return;
    }
    if (!HasPictureExtension(path) || (in_root && ignore_root_files_)) {
      ++result_.num_ignored;
      return;
    }
    FoundFile file = {source, path, exists ? info.st_size : 0, ""};
    if (!exists) {
      file.refused = absl::StrCat("cannot be opened, ", std::strerror(error));
    } else if (!S_ISREG(info.st_mode)) {
      file.refused = "is no regular file";
    } else if (::access(path.c_str(), R_OK) != 0) {
      file.refused = absl::StrCat("cannot be opened, ", std::strerror(errno));
    } else if (info.st_size == 0) {
      file.refused = "is empty, has 0 bytes";
    }
    Add(std::move(file));
  }

  void Add(FoundFile file) {
    // "caf%E9" may be a name of its own beside one that is shown like it.
    while (!sources_.insert(file.source).second) file.source += "~";
    result_.files.push_back(std::move(file));
  }

  bool ignore_root_files_;
  WalkResult result_;
  std::set<std::string> sources_;
  std::set<std::pair<dev_t, ino_t>> ancestors_;  // folders that are being walked
};

}  // namespace

const std::vector<std::string>& PictureExtensions() {
  static const auto* const kExtensions = new std::vector<std::string>{
      "bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"};
  return *kExtensions;
}

bool HasPictureExtension(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return false;
  const std::string extension = absl::AsciiStrToLower(absl::string_view(name.data() + dot + 1, name.size() - dot - 1));
  return std::binary_search(PictureExtensions().begin(), PictureExtensions().end(), extension);
}

absl::StatusOr<LabelRule> LabelRule::Parse(const std::string& text) {
  LabelRule rule;
  if (text == "parent") return rule;
  if (text.rfind(kRegexPrefix, 0) != 0)
    return absl::InvalidArgumentError(absl::StrCat("labels \"", Printable(text),
                                                   "\": must be parent (the name of the folder that holds the file) or "
                                                   "regex:PATTERN (its first group)"));
  const std::string pattern = text.substr(sizeof(kRegexPrefix) - 1);
  try {
    rule.pattern_.emplace(pattern, std::regex::ECMAScript);
  } catch (const std::regex_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("labels \"", Printable(text), "\": the pattern cannot be read, ", error.what()));
  }
  if (rule.pattern_->mark_count() == 0)
    return absl::InvalidArgumentError(absl::StrCat("labels \"", Printable(text),
                                                   "\": the pattern has no group to take the label from (hint: "
                                                   "regex:^(.*)_[0-9]+)"));
  rule.whole_path_ = pattern.find('/') != std::string::npos;
  return rule;
}

std::optional<std::string> LabelRule::LabelOf(const std::string& source) const {
  if (is_parent()) return ParentFolder(source);
  const std::string subject = whole_path_ ? "/" + source : source.substr(source.rfind('/') + 1);
  std::smatch found;
  if (!std::regex_search(subject, found, *pattern_)) return std::nullopt;
  return found[1].str();
}

absl::StatusOr<WalkResult> WalkPictures(const std::string& root, bool ignore_root_files) {
  struct stat info;
  if (::stat(root.c_str(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("source \"", root, "\": cannot open"));
  if (!S_ISDIR(info.st_mode))
    return absl::FailedPreconditionError(absl::StrCat("source \"", root, "\": must be a folder of pictures"));
  Walker walker(ignore_root_files);
  walker.EnterRoot(info);
  URSA_RETURN_IF_ERROR(walker.Enter(root, ""));
  return walker.Finish();
}

}  // namespace ursa::cli
