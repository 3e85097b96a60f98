#include "store/group_commit_store.h"

namespace knarr::store {
namespace {

class MemoryDurability : public Durability {
 public:
  MemoryDurability(env::Env environment, env::Duration commitDelay) : env_(environment), commitDelay_(commitDelay) {}

  async::Task<Result<void>> persist(std::shared_ptr<const Batch> batch) override {
    (void)batch;
    if (commitDelay_ > env::Duration::zero()) co_await async::sleepFor(env_, commitDelay_);
    co_return Result<void>();
  }
  bool poisoned() const override { return false; }
  async::Task<void> close() override { co_return; }

 private:
  env::Env env_;
  env::Duration commitDelay_;
};

}  // namespace

std::unique_ptr<Store> makeMemoryStore(env::Env environment, StoreOptions options, env::Duration commitDelay) {
  return std::make_unique<GroupCommitStore>(environment, options, MvccIndex(),
                                            std::make_unique<MemoryDurability>(environment, commitDelay));
}

}  // namespace knarr::store
