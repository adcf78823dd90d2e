// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.26;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Pausable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Pausable.sol";
import {ERC20FlashMint} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20FlashMint.sol";
import {ERC20Wrapper} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Wrapper.sol";
import {ERC4626} from "@openzeppelin/contracts/token/ERC20/extensions/ERC4626.sol";
import {ERC1363} from "@openzeppelin/contracts/token/ERC20/extensions/ERC1363.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {ERC20 as SoladyERC20} from "solady/tokens/ERC20.sol";
import {ERC20Votes as SoladyVotes} from "solady/tokens/ERC20Votes.sol";
import {Base, Owned, ROUTER, WETH} from "./Base.sol";

uint256 constant SUPPLY = 10 ** 27;

contract Plain is Base {
    constructor(uint256[4] memory p_) Base(p_) {
        boss = address(0);
    }
}

contract OzPlain is ERC20("Plain", "OZ") {
    constructor(uint256[4] memory) {
        _mint(msg.sender, SUPPLY);
    }
}

contract OzPermit is ERC20("Permit", "PRM"), ERC20Permit("Permit") {
    constructor(uint256[4] memory) {
        _mint(msg.sender, SUPPLY);
    }
}

contract OzVotes is ERC20("Votes", "VOT"), ERC20Permit("Votes"), ERC20Votes {
    constructor(uint256[4] memory) {
        _mint(msg.sender, SUPPLY);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        super._update(from, to, value);
    }

    function nonces(address who) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(who);
    }
}

contract OzBurnable is ERC20("Burnable", "BRN"), ERC20Burnable {
    constructor(uint256[4] memory) {
        _mint(msg.sender, SUPPLY);
    }
}

/// All but p0 thousandths (below ten) of the cap exist; the owner may make the rest.
contract OzCapped is ERC20("Capped", "CAP"), ERC20Capped, Ownable {
    constructor(uint256[4] memory p) ERC20Capped(SUPPLY) Ownable(msg.sender) {
        _mint(msg.sender, SUPPLY * (1_000 - p[0]) / 1_000);
    }

    function mint(address to, uint256 amount) external onlyOwner {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Capped) {
        super._update(from, to, value);
    }
}

contract OzCallback is ERC1363 {
    constructor(uint256[4] memory) ERC20("Callback", "CBK") {
        _mint(msg.sender, SUPPLY);
    }
}

contract OzFlashMint is ERC20FlashMint {
    constructor(uint256[4] memory) ERC20("Flash", "FLS") {
        _mint(msg.sender, SUPPLY);
    }
}

/// Benign by decision: only a timelock of p0 hours may pause.
contract OzPausableByTimelock is ERC20("Pausable", "PSB"), ERC20Pausable, Ownable {
    constructor(uint256[4] memory p) Ownable(msg.sender) {
        _mint(msg.sender, SUPPLY);
        address[] memory who = new address[](1);
        who[0] = msg.sender;
        _transferOwnership(address(new TimelockController(p[0] * 1 hours, who, who, address(0))));
    }

    function pause() external onlyOwner {
        _pause();
    }

    function unpause() external onlyOwner {
        _unpause();
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Pausable) {
        super._update(from, to, value);
    }
}

/// Benign by decision: nobody owns the switch any more.
contract OzPausableRenounced is ERC20("Renounced", "RNC"), ERC20Pausable, Ownable {
    constructor(uint256[4] memory) Ownable(msg.sender) {
        _mint(msg.sender, SUPPLY);
        renounceOwnership();
    }

    function pause() external onlyOwner {
        _pause();
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Pausable) {
        super._update(from, to, value);
    }
}

/// Benign by decision: roles lie with a timelock of p0 hours.
contract OzRolesByTimelock is ERC20("Roles", "ROL"), AccessControl {
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");

    constructor(uint256[4] memory p) {
        _mint(msg.sender, SUPPLY);
        address[] memory who = new address[](1);
        who[0] = msg.sender;
        address lock = address(new TimelockController(p[0] * 1 hours, who, who, address(0)));
        _grantRole(DEFAULT_ADMIN_ROLE, lock);
        _grantRole(MINTER_ROLE, lock);
    }

    function mint(address to, uint256 amount) external onlyRole(MINTER_ROLE) {
        _mint(to, amount);
    }
}

contract Reserve is ERC20("Reserve", "RSV") {
    constructor(address to) {
        _mint(to, SUPPLY);
    }
}

contract OzWrapper is ERC20("Wrapped", "WRP"), ERC20Wrapper {
    constructor(uint256[4] memory) ERC20Wrapper(IERC20(address(new Reserve(address(this))))) {
        _mint(msg.sender, SUPPLY);
    }

    function decimals() public view override(ERC20, ERC20Wrapper) returns (uint8) {
        return super.decimals();
    }
}

contract OzVault is ERC20("Share", "SHR"), ERC4626 {
    constructor(uint256[4] memory) ERC4626(IERC20(address(new Reserve(address(this))))) {
        _mint(msg.sender, SUPPLY);
    }

    function decimals() public view override(ERC20, ERC4626) returns (uint8) {
        return super.decimals();
    }
}

contract SoladyPlain is SoladyERC20 {
    constructor(uint256[4] memory) {
        _mint(msg.sender, SUPPLY);
    }

    function name() public pure override returns (string memory) {
        return "Solady";
    }

    function symbol() public pure override returns (string memory) {
        return "SLD";
    }
}

contract SoladyVoting is SoladyVotes {
    constructor(uint256[4] memory) {
        _mint(msg.sender, SUPPLY);
    }

    function name() public pure override returns (string memory) {
        return "Solady";
    }

    function symbol() public pure override returns (string memory) {
        return "SVT";
    }

    function clock() public view override returns (uint48) {
        return uint48(block.number);
    }
}

/// USDT's way: no answers, and an allowance that is not zero must be set to zero first.
contract NoReturn {
    string public name = "Dollar";
    string public symbol = "NRT";
    uint8 public decimals = 6;
    uint256 public totalSupply = 10 ** 15;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed holder, address indexed spender, uint256 value);

    constructor(uint256[4] memory) {
        balanceOf[msg.sender] = totalSupply;
        emit Transfer(address(0), msg.sender, totalSupply);
    }

    function approve(address spender, uint256 amount) external {
        require(amount == 0 || allowance[msg.sender][spender] == 0);
        allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        if (allowance[from][msg.sender] != type(uint256).max) allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        emit Transfer(from, to, amount);
    }
}

/// The early style: text of 32 bytes, and amounts of 96 bits.
contract EarlyStyle {
    bytes32 public constant name = "Early";
    bytes32 public constant symbol = "ERL";
    uint256 public constant decimals = 18;
    uint256 public constant totalSupply = SUPPLY;
    mapping(address => uint96) private held;
    mapping(address => mapping(address => uint96)) private allowed;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed holder, address indexed spender, uint256 value);

    constructor(uint256[4] memory) {
        held[msg.sender] = uint96(SUPPLY);
        emit Transfer(address(0), msg.sender, SUPPLY);
    }

    function balanceOf(address who) external view returns (uint256) {
        return held[who];
    }

    function allowance(address who, address spender) external view returns (uint256) {
        return allowed[who][spender];
    }

    function approve(address spender, uint256 raw) external returns (bool) {
        uint96 amount = raw == type(uint256).max ? type(uint96).max : _narrow(raw);
        allowed[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }

    function transfer(address to, uint256 raw) external returns (bool) {
        return _move(msg.sender, to, _narrow(raw));
    }

    function transferFrom(address from, address to, uint256 raw) external returns (bool) {
        uint96 amount = _narrow(raw);
        if (allowed[from][msg.sender] != type(uint96).max) allowed[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    function _narrow(uint256 raw) private pure returns (uint96) {
        require(raw < 2 ** 96, "exceeds 96 bits");
        return uint96(raw);
    }

    function _move(address from, address to, uint96 amount) private returns (bool) {
        require(to != address(0) && from != address(0));
        held[from] -= amount;
        held[to] += amount;
        emit Transfer(from, to, amount);
        return true;
    }
}

/// p0: tax both ways in bps, at most 400, for ever.
contract TaxSmall is Base {
    address private immutable FUND;

    constructor(uint256[4] memory p_) Base(p_) {
        FUND = address(uint160(uint256(keccak256("fund"))));
    }

    function _move(address from, address to, uint256 amount) internal override {
        _taxed(from, to, amount, _isSell(from, to) || _isBuy(from, to) ? p[0] : 0, FUND);
    }
}

contract TaxBuyOnly is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        _taxed(from, to, amount, _isBuy(from, to) ? p[0] : 0, boss);
    }
}

/// The owner sets the tax, but never above p0 percent, at most five.
contract TaxBounded is Owned {
    uint256 public buyFee = 1;
    uint256 public sellFee = 1;

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

/// Collects a tax of p0 bps and sells what it collected for its fund, as most taxed tokens do.
contract TaxSwappedBack is Base {
    bool private busy;
    address private constant FUND = address(0xF00D);

    constructor(uint256[4] memory p_) Base(p_) {
        allowance[address(this)][address(ROUTER)] = type(uint256).max;
    }

    function _move(address from, address to, uint256 amount) internal override {
        bool trade = _isSell(from, to) || _isBuy(from, to);
        uint256 collected = held[address(this)];
        if (_isSell(from, to) && !busy && collected >= totalSupply / 5_000) {
            busy = true;
            address[] memory path = new address[](2);
            (path[0], path[1]) = (address(this), WETH);
            ROUTER.swapExactTokensForETHSupportingFeeOnTransferTokens(
                totalSupply / 5_000, 0, path, FUND, block.timestamp
            );
            busy = false;
        }
        _taxed(from, to, amount, trade ? p[0] : 0, address(this));
    }
}

/// Burns p0 bps of every transfer.
contract Deflationary is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        uint256 burnt = _free(from, to) ? 0 : amount * p[0] / 10_000;
        if (burnt > 0) _burn(from, burnt);
        _put(from, to, amount - burnt);
    }
}

/// Gives p0 bps of every trade to all holders: balances are shares of a whole, the pair excepted.
contract Reflection is Base {
    uint256 private shares;
    mapping(address => uint256) private share;

    constructor(uint256[4] memory p_) Base(p_) {
        shares = type(uint128).max;
        share[msg.sender] = shares;
    }

    function _rate() private view returns (uint256) {
        return shares / (totalSupply - held[pair]);
    }

    function balanceOf(address who) public view override returns (uint256) {
        return who == pair ? held[who] : share[who] / _rate();
    }

    function _move(address from, address to, uint256 amount) internal override {
        uint256 tax = _isSell(from, to) || _isBuy(from, to) ? amount * p[0] / 10_000 : 0;
        uint256 rate = _rate();
        uint256 sent = amount * rate;
        if (from == pair) {
            held[pair] -= amount;
            shares += sent;
        } else {
            share[from] -= sent;
        }
        if (to == pair) {
            held[pair] += amount - tax;
            shares -= sent;
        } else {
            share[to] += (amount - tax) * rate;
            shares -= tax * rate;
        }
        emit Transfer(from, to, amount - tax);
    }
}

/// p0: bps of the supply that one account may hold; nobody can change it.
contract MaxWallet is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        _put(from, to, amount);
        require(to == pair || _free(from, to) || held[to] <= totalSupply * p[0] / 10_000, "max wallet");
    }
}

/// p0: bps of the supply that one transfer may move, either way.
contract MaxTransaction is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(_free(from, to) || amount <= totalSupply * p[0] / 10_000, "max transaction");
        _put(from, to, amount);
    }
}

/// p0: seconds between two trades of an account, at most 60.
contract CoolDownShort is Base {
    mapping(address => uint256) private traded;

    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (_isSell(from, to)) {
            require(block.timestamp >= traded[from] + p[0], "wait");
            traded[from] = block.timestamp;
        }
        if (_isBuy(from, to)) traded[to] = block.timestamp;
        _put(from, to, amount);
    }
}

contract OneTradeABlock is Base {
    mapping(address => uint256) private traded;

    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        if (_isSell(from, to) || _isBuy(from, to)) {
            require(traded[tx.origin] < block.number, "one a block");
            traded[tx.origin] = block.number;
        }
        _put(from, to, amount);
    }
}

/// Balances outside the pair grow by p0 bps a day, as those of a staked coin do.
contract RebaseUp is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _scale() private view returns (uint256) {
        return 1e18 + 1e14 * p[0] * (block.timestamp - born) / 1 days;
    }

    function balanceOf(address who) public view override returns (uint256) {
        return who == pair ? held[who] : held[who] * _scale() / 1e18;
    }

    function _move(address from, address to, uint256 amount) internal override {
        uint256 shares = (amount * 1e18 + _scale() - 1) / _scale();
        held[from] -= from == pair ? amount : shares > held[from] ? held[from] : shares;
        held[to] += to == pair ? amount : amount * 1e18 / _scale();
        emit Transfer(from, to, amount);
    }
}

contract SixDecimals is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}

contract NoDecimals is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function decimals() public pure override returns (uint8) {
        return 0;
    }
}

contract ManyDecimals is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function decimals() public pure override returns (uint8) {
        return 24;
    }
}

/// Refuses transfers of nothing, to itself and to nobody, as some careful tokens do.
contract Careful is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(amount > 0 && to != address(this) && to != address(0) && from != to, "careful");
        _put(from, to, amount);
    }
}

/// Trading was opened once and cannot be closed; the owner keeps only harmless duties.
contract LaunchGate is Owned {
    bool public open;
    address public fund;

    constructor(uint256[4] memory p_) Base(p_) {}

    function launch() external only {
        open = true;
    }

    function setFund(address fund_) external only {
        fund = fund_;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(open || _free(from, to), "not yet");
        _put(from, to, amount);
    }
}

/// Snipers of the first blocks pay; now it is an ordinary token. p0: how many blocks that was.
contract AntiSniper is Base {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        bool early = block.number <= bornBlock + p[0];
        _taxed(from, to, amount, early && _isBuy(from, to) ? 5_000 : 0, boss);
    }
}

/// The tax falls from p1 bps to nothing within p0 hours of the launch, which are over.
contract TaxFalling is Base {
    constructor(uint256[4] memory p_) Base(p_) {
        born = block.timestamp - 2 days;
    }

    function _move(address from, address to, uint256 amount) internal override {
        uint256 past = block.timestamp - born;
        uint256 tax = past >= p[0] * 1 hours ? 0 : p[1] * (p[0] * 1 hours - past) / (p[0] * 1 hours);
        _taxed(from, to, amount, _isSell(from, to) ? tax : 0, boss);
    }
}

/// Lets the owner rescue other tokens and ether that were sent here by mistake.
contract Rescue is Owned {
    constructor(uint256[4] memory p_) Base(p_) {}

    function rescueToken(address token, uint256 amount) external only {
        require(token != address(this), "own");
        IERC20(token).transfer(boss, amount);
    }

    function rescueEther(uint256 amount) external only {
        payable(boss).transfer(amount);
    }

    receive() external payable {}
}
