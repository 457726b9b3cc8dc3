// How many things there are of each size.
#ifndef URSA_COORDINATOR_SCHEDULING_SIZE_COUNTS_H_
#define URSA_COORDINATOR_SCHEDULING_SIZE_COUNTS_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace ursa {

// Pairs of a size and how many there are of it (not 0), sizes ascending. Gangs come in few sizes: a sorted vector is
// found through faster than any tree.
class SizeCounts {
 public:
  using Item = std::pair<int32_t, int32_t>;
  using const_iterator = std::vector<Item>::const_iterator;

  // There are so many more of that size, or less.
  void Add(int32_t size, int32_t num) {
    const auto it = items_.begin() + (lower_bound(size) - items_.cbegin());
    if (it == items_.end() || it->first != size) {
      items_.insert(it, {size, num});
    } else if ((it->second += num) == 0) {
      items_.erase(it);
    }
  }

  const_iterator begin() const { return items_.begin(); }
  const_iterator end() const { return items_.end(); }
  bool empty() const { return items_.empty(); }
  // The first of at least that size.
  const_iterator lower_bound(int32_t size) const {
    return std::lower_bound(begin(), end(), size, [](const Item& item, int32_t s) { return item.first < s; });
  }

 private:
  std::vector<Item> items_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_SIZE_COUNTS_H_
